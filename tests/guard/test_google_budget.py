"""Google's budget messages, in the shape that its documentation shows."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gate.errors import InvalidRequestError
from gate.guard.alerts import Alert, Severity, transition
from gate.guard.google_budget import observation_of
from tests.makers import NOON

BUDGET = {
    "budgetDisplayName": "twohop",
    "costAmount": 2.5,
    "costIntervalStart": "2026-11-01T08:00:00Z",
    "budgetAmount": 10.0,
    "budgetAmountType": "SPECIFIED_AMOUNT",
    "currencyCode": "USD",
}


def published(**changes: Any) -> dict[str, Any]:
    data = base64.b64encode(json.dumps({**BUDGET, **changes}).encode()).decode()
    attributes = {"billingAccountId": "01", "budgetId": "b", "schemaVersion": "1.0"}
    return {"message": {"attributes": attributes, "data": data, "messageId": "1"}, "subscription": "s"}


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, Severity.FINE),
        ({"alertThresholdExceeded": 0.5}, Severity.WARNING),
        ({"forecastThresholdExceeded": 1.0}, Severity.WARNING),
        ({"alertThresholdExceeded": 1.0}, Severity.CRITICAL),
    ],
    ids=["below every threshold", "half", "forecast", "all of it"],
)
def test_a_threshold_is_an_alert(changes: dict[str, Any], severity: Severity) -> None:
    seen = observation_of(published(**changes))

    assert (seen.alert, seen.severity) == ("google_budget_2026-11", severity)
    assert "2.50 USD of the budget 'twohop', 10.00 USD" in seen.text


def test_messages_out_of_order_and_twice_tell_each_threshold_once() -> None:
    """Pub/Sub delivers at least once, in no order."""
    shares = [0.5, 0.5, 1.0, 0.5, 1.0, 0.0]
    alert: Alert | None = None
    told = []
    for share in shares:
        seen = observation_of(published(**({"alertThresholdExceeded": share} if share else {})))
        changed = transition(alert, seen, at=NOON, channels=("log",), mark="m")
        alert = changed or alert
        told += [changed.state.value] if changed else []

    assert told == ["warned", "critical"]


def test_an_older_months_message_is_another_alerts() -> None:
    """It may come after the first of this month."""
    assert observation_of(published(costIntervalStart="2026-10-01T07:00:00Z")).alert == "google_budget_2026-10"


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"message": {"data": "not base64!"}},
        {"message": {"data": base64.b64encode(b"{}").decode()}},
        {"message": {"data": base64.b64encode(b'{"budgetDisplayName": 7}').decode()}},
        {"message": "hello"},
    ],
    ids=["empty", "no base64", "empty object", "wrong type", "no message"],
)
def test_what_is_no_budget_message_is_refused(event: dict[str, Any]) -> None:
    """Anybody with the right to publish can write to a topic."""
    with pytest.raises(InvalidRequestError):
        observation_of(event)
