"""What opens Firestore: the emulator's owner, or the account that the instance runs as."""

from __future__ import annotations

import httpx
import pytest

from gate.errors import LedgerError
from gate.ledgers._firestore_access import open_access
from gate.over_httpx import OverHttpx

ALICE = {"access_token": "alice", "expires_in": 3600}


@pytest.fixture(autouse=True)
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("K_SERVICE", "infer")


async def test_an_instance_asks_for_a_token_once() -> None:
    """The metadata server is asked as Google documents it, and not at each call."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=ALICE)

    address, access = open_access(OverHttpx(httpx.MockTransport(answer)))
    for _ in range(3):
        assert await access.headers() == {"authorization": "Bearer alice"}

    assert address == "https://firestore.googleapis.com"
    assert [request.headers["metadata-flavor"] for request in asked] == ["Google"]
    assert (
        asked[0].url == "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
    )


async def test_a_token_that_ends_soon_is_renewed() -> None:
    tokens = iter(["first", "second"])
    short = httpx.MockTransport(
        lambda _: httpx.Response(200, json={"access_token": next(tokens), "expires_in": 241.0})
    )
    _, access = open_access(OverHttpx(short))

    first = await access.headers()
    # It holds for a second yet; what counts is that it is not kept to its very end.
    access._renew_at = 0.0  # type: ignore[attr-defined]  # the time that the test is about
    second = await access.headers()

    assert [first["authorization"], second["authorization"]] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(httpx.Response(404, text="no account"), id="no-account"),
        pytest.param(httpx.Response(200, json={"token": "other"}), id="another-shape"),
    ],
)
async def test_nobody_who_vouches_is_a_ledger_error(answer: httpx.Response) -> None:
    """In doubt nothing is spent."""
    _, access = open_access(OverHttpx(httpx.MockTransport(lambda _: answer)))

    with pytest.raises(LedgerError, match="metadata server"):
        await access.headers()


async def test_the_emulator_is_opened_as_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the rules, which are for clients."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:8080")
    address, access = open_access(OverHttpx(httpx.MockTransport(lambda _: httpx.Response(500))))

    assert address == "http://127.0.0.1:8080"
    assert await access.headers() == {"authorization": "Bearer owner"}
