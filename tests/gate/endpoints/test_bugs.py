"""What we did wrong tells the caller nothing, and the log all but what was asked and shown."""

from __future__ import annotations

from typing import Any

import pytest

from gate.errors import ForbiddenError, InvalidRequestError
from tests.gate.endpoints.door import APP, EVENT_STREAM, Door, error_of, event_of


async def test_a_bug_tells_nothing_and_is_logged_whole() -> None:
    """The client learns that we failed; the operator learns where."""
    door = Door(ZeroDivisionError("at users/alice"))

    response = await door.post()

    assert (response.status_code, error_of(response)) == (
        500,
        {"status": "INTERNAL", "message": "INTERNAL", "details": None},
    )
    [line] = door.log.lines("request.failed")
    assert "ZeroDivisionError: at users/alice" in line["traceback"]
    assert "Traceback" in line["traceback"]
    assert line["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"outputs": "\ud800"}, id="lone-surrogate"),
        pytest.param({"outputs": {1, 2}.__iter__()}, id="no-json"),
        pytest.param(InvalidRequestError("the worker says \ud800"), id="surrogate-in-a-refusal"),
    ],
)
@pytest.mark.parametrize("headers", [{}, EVENT_STREAM], ids=["plain", "stream"])
async def test_an_answer_that_cannot_be_written_is_our_error(answer: Any, headers: dict[str, str]) -> None:
    """In the protocol's shape like any other; a model may answer anything."""
    door = Door(answer)

    response = await door.post(headers={"origin": APP, **headers})

    error = event_of(response)["error"] if headers else error_of(response)
    assert error == {"status": "INTERNAL", "message": "INTERNAL", "details": None}
    assert response.headers["access-control-allow-origin"] == APP
    assert "Error" in door.log.lines("request.failed")[0]["traceback"]


async def test_no_log_line_of_the_door_holds_a_token_or_a_payload() -> None:
    """Whether the call goes well or not."""
    for answer in (None, ForbiddenError("no"), ZeroDivisionError("a bug")):
        door = Door(answer)
        await door.post({"data": {"inputs": "pr1vate"}}, headers={"authorization": "Bearer t0ken"})
        await door.post(content=b'{"data":{"inputs":"pr1vate"', headers={"authorization": "Bearer t0ken"})

        assert not any(secret in door.log.text.getvalue() for secret in ("pr1vate", "t0ken"))
