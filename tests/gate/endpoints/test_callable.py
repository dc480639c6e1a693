"""The door as a Firebase SDK meets it: who is asking is known first, and an answer has the protocol's shape."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from gate.domain.answer import Answer
from gate.domain.job import JobState
from gate.domain.meter import LimitName, Remaining
from gate.domain.request import InferRequest
from gate.endpoints.answers import answer_json, quota_json
from gate.money import Spent
from gate.ports import Credentials
from tests.gate.endpoints.door import ALICE, Door
from tests.makers import NOON, make_job


async def test_a_call_is_answered_with_its_result() -> None:
    """In the one field that the SDK reads."""
    door = Door({"outputs": [1, 2]})

    response = await door.post(headers={"authorization": "Bearer t0ken", "x-firebase-appcheck": "app"})

    assert (response.status_code, response.json()) == (200, {"result": {"outputs": [1, 2]}})
    assert door.asked == [Credentials(bearer="t0ken", app_check="app")]
    assert door.calls == [(ALICE, InferRequest(inputs="hello"))]
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("header", "bearer"),
    [
        pytest.param("Bearer abc", "abc", id="bearer"),
        pytest.param("bearer abc", "abc", id="lower-case"),
        pytest.param("Bearer   abc  ", "abc", id="spaces"),
        pytest.param("Bearer", None, id="no-token"),
        pytest.param("Bearer ", None, id="empty-token"),
        pytest.param("Basic abc", None, id="another-scheme"),
        pytest.param("abc", None, id="no-scheme"),
        pytest.param("", None, id="empty"),
    ],
)
async def test_only_a_bearer_is_a_credential(header: str, bearer: str | None) -> None:
    """Whether it holds is the verifier's business."""
    door = Door()

    await door.post(headers={"authorization": header})

    assert door.asked[0].bearer == bearer


async def test_of_a_strangers_request_not_even_the_body_is_read() -> None:
    """Verify first: what nobody known sent costs no memory and no time."""
    door = Door()
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(True)
        yield b"{}"

    answer = await door.post(content=body(), headers={"authorization": "Bearer stranger"})

    assert answer.status_code == 401
    assert (door.calls, read) == ([], [])


def test_an_answer_says_what_was_held_what_was_paid_and_what_is_left() -> None:
    """The shape of `infer`'s result."""
    spent = Spent(execution_ms=2_400, start_ms=100, idle_ms=5_000)
    job = make_job(state=JobState.SETTLED, settled_microdollars=120, spent=spent)
    quota = (
        Remaining(name=LimitName.REQUESTS_PER_DAY, limit=5, remaining=4, used=1, resets_at=NOON),
        Remaining(name=LimitName.CONCURRENCY, limit=2, remaining=2, used=0, resets_at=None),
    )

    answer = answer_json(Answer(job=job, outputs=[1], quota=quota))

    assert answer == {
        "job_id": job.job_id,
        "state": "settled",
        "outputs": [1],
        "usage": {
            "held_microdollars": 1_000,
            "settled_microdollars": 120,
            "gpu_seconds": 2.5,
            "useful_seconds": 2.4,
            "start_seconds": 0.1,
            "idle_seconds": 5.0,
        },
        "quota": {
            "requests_per_day": {"limit": 5, "remaining": 4, "resets_at": "2026-11-21T12:00:00+00:00"},
            "concurrency": {"limit": 2, "remaining": 2, "resets_at": None},
        },
        "repeated": False,
        "cached": False,
    }
    assert msgspec.json.decode(msgspec.json.encode(answer)) == answer
    assert quota_json(()) == {}
