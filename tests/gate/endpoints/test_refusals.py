"""A refusal has the protocol's status, our own words, and the time at which to come back."""

from __future__ import annotations

import pytest

from gate.endpoints.refusals import EACH_MAX, Refusals
from gate.errors import (
    ConflictError,
    ForbiddenError,
    GateError,
    InvalidRequestError,
    LedgerError,
    ProviderTimeoutError,
    QuotaExceededError,
    SettingsError,
    UnauthenticatedError,
)
from tests.gate.doubles import WatchedLog
from tests.gate.endpoints.door import Door, error_of


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        pytest.param(InvalidRequestError("no"), 400, "INVALID_ARGUMENT", id="invalid"),
        pytest.param(UnauthenticatedError("no"), 401, "UNAUTHENTICATED", id="nobody"),
        pytest.param(ForbiddenError("no"), 403, "PERMISSION_DENIED", id="forbidden"),
        pytest.param(ConflictError("no"), 409, "ALREADY_EXISTS", id="conflict"),
        pytest.param(QuotaExceededError("no"), 429, "RESOURCE_EXHAUSTED", id="quota"),
        pytest.param(LedgerError("no"), 503, "UNAVAILABLE", id="ledger"),
        pytest.param(ProviderTimeoutError("no"), 504, "DEADLINE_EXCEEDED", id="timeout"),
        pytest.param(SettingsError("no"), 400, "FAILED_PRECONDITION", id="settings"),
    ],
)
async def test_a_refusal_has_the_protocols_status_and_the_class_own_words(
    error: GateError, status: int, code: str
) -> None:
    """The reason goes to the log, with the id that the answer carries."""
    door = Door(error)

    response = await door.post()

    assert (response.status_code, error_of(response)["status"]) == (status, code)
    assert error_of(response)["message"] == error.public_message
    [line] = door.log.lines("request.refused")
    assert (line["request_id"], line["error"]) == (response.headers["x-request-id"], type(error).__name__)


@pytest.mark.parametrize(
    ("seconds", "header"), [(0.001, "1"), (1.0, "1"), (1.4, "2"), (2.5, "3"), (43_200.0, "43200")], ids=str
)
async def test_retry_after_is_whole_seconds_and_never_too_soon(seconds: float, header: str) -> None:
    """Who comes back earlier is refused again."""
    error = QuotaExceededError("no", details={"retry_after_seconds": seconds})

    response = await Door(error).post()

    assert response.headers["retry-after"] == header
    assert error_of(response)["details"]["retry_after_seconds"] == seconds


async def test_a_refusal_that_knows_no_time_names_none() -> None:
    """Guessing would be worse."""
    assert "retry-after" not in (await Door(ForbiddenError("no")).post()).headers


def test_a_flood_of_refusals_is_a_handful_of_lines() -> None:
    """The log costs money by the byte, and whoever is refused may come again a thousand times a second."""
    log, now = WatchedLog(), 100.0
    refusals = Refusals(log, monotonic=lambda: now)

    for number in range(1_000):
        refusals.tell(UnauthenticatedError("no"), str(number))
    refusals.tell(QuotaExceededError("another kind"), "other")
    assert len(log.lines("request.refused")) == EACH_MAX + 1
    assert log.lines("request.refused_more") == []

    now += 1
    refusals.tell(UnauthenticatedError("no"), "later")
    [line] = log.lines("request.refused_more")
    assert line["more"] == {"unauthenticated": 1_000 - EACH_MAX}
    assert log.lines("request.refused")[-1]["request_id"] == "later"


def test_every_bug_is_told() -> None:
    """However many there are: each may be another."""
    log = WatchedLog()
    refusals = Refusals(log)

    for number in range(100):
        refusals.tell(ValueError("a bug"), str(number))

    assert len(log.lines("request.failed")) == 100
