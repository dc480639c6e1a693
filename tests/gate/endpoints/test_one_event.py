"""A client that streams from a door without parts gets one event, a refusal too."""

from __future__ import annotations

import pytest

from gate.errors import InvalidRequestError, QuotaExceededError, UnauthenticatedError
from tests.gate.endpoints.door import ELSEWHERE, EVENT_STREAM, Door, event_of


async def test_a_client_that_streams_gets_its_result_as_one_event() -> None:
    """Line breaks in it notwithstanding."""
    assert event_of(await Door({"outputs": "a\nb\r\n"}).post(headers=EVENT_STREAM)) == {
        "result": {"outputs": "a\nb\r\n"}
    }


@pytest.mark.parametrize(
    "error",
    [
        UnauthenticatedError("no"),
        QuotaExceededError("no", details={"retry_after_seconds": 3}),
        InvalidRequestError("two\nlines"),
        ZeroDivisionError("a bug"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_client_that_streams_gets_refusals_as_an_event_too(error: Exception) -> None:
    """`.stream()` looks at no status, and would wait for ever."""
    event = event_of(await Door(error).post(headers=EVENT_STREAM))

    assert set(event["error"]) == {"status", "message", "details"}


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        pytest.param(b"{", {}, id="rubbish"),
        pytest.param(b"{}", {"content-type": "text/plain"}, id="content-type"),
        pytest.param(b"{}", {"origin": ELSEWHERE}, id="origin"),
    ],
)
async def test_a_client_that_streams_gets_an_event_for_what_is_malformed(
    content: bytes, headers: dict[str, str]
) -> None:
    """Also when the handler never ran."""
    event = event_of(await Door().post(content=content, headers={**headers, **EVENT_STREAM}))

    assert event["error"]["status"] in ("INVALID_ARGUMENT", "PERMISSION_DENIED")
