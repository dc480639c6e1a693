"""The address of a job's end: one a job, not to be guessed, and worth no more than a look."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from gate.endpoints.webhook import WebhookDoor
from gate.errors import LedgerError
from gate.steps.webhooks import Webhooks
from gate.wire import sign
from tests.gate.doubles import WatchedLog

SECRET = b"w" * 32
HOOKS = Webhooks(url="https://hop1.example/webhook", secret=SECRET)
JOB = "0123456789abcdef" * 2


class Door:
    def __init__(self, outcome: bool | Exception = True) -> None:
        self.asked: list[str] = []
        self.log = WatchedLog()
        self._outcome = outcome
        app = WebhookDoor(self._ended, webhooks=HOOKS, log=self.log)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://hop1.example")

    async def _ended(self, job_id: str) -> bool:
        self.asked.append(job_id)
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def proof_of(job_id: str) -> str:
    return parse_qs(urlsplit(HOOKS.address(job_id)).query)["proof"][0]


async def test_its_address_brings_a_look_at_the_job() -> None:
    door = Door()

    response = await door.client.post(HOOKS.address(JOB), json={"id": "another", "status": "COMPLETED"})

    assert (response.status_code, door.asked) == (200, [JOB])


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        pytest.param(False, 503, id="still-running"),
        pytest.param(LedgerError("away"), 503, id="cannot-be-settled"),
    ],
)
async def test_what_could_not_be_done_is_to_be_told_again(outcome: bool | Exception, status: int) -> None:
    """RunPod tries twice more."""
    assert (await Door(outcome).client.post(HOOKS.address(JOB))).status_code == status


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"job": JOB}, id="no-proof"),
        pytest.param({"job": JOB, "proof": ""}, id="empty-proof"),
        pytest.param({"job": JOB, "proof": proof_of("f" * 32)}, id="anothers-proof"),
        pytest.param({"job": JOB, "proof": proof_of(JOB).upper()}, id="another-case"),
        pytest.param({"job": JOB, "proof": "\ud800".encode("utf-8", "surrogatepass")}, id="rubbish"),
    ],
)
async def test_everybody_else_is_told_nothing(params: dict[str, str]) -> None:
    """Before any read."""
    door = Door()

    assert (await door.client.post("/webhook", params=params)).status_code == 404
    assert door.asked == []


async def test_only_a_post_is_a_message() -> None:
    """A crawler that got hold of an address changes nothing."""
    door = Door()

    assert (await door.client.get(HOOKS.address(JOB))).status_code == 404
    assert door.asked == []


def test_a_proof_is_no_signature_of_a_request() -> None:
    """Both are made with one secret, and neither may stand for the other."""
    signed = sign(secret=SECRET, job_id=JOB, body=b"", issued_ms=0, expires_ms=1)

    assert signed.signature != proof_of(JOB)
    assert not Webhooks(url="", secret=b"v" * 32).proves(JOB, proof_of(JOB))
