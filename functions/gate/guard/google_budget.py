"""Google's own budget messages, as an outer net: they see everything of a project, up to a day late.

Source: docs.cloud.google.com/billing/docs/how-to/budgets-programmatic-notifications, "Notification format". Messages
come several times a day whether or not anything changed, at least once, and in no order.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from gate.errors import InvalidRequestError
from gate.guard.alerts import Observation, Severity


class _Budget(msgspec.Struct, frozen=True, rename="camel"):
    budget_display_name: str
    cost_amount: float
    cost_interval_start: str
    budget_amount: float
    currency_code: str
    alert_threshold_exceeded: float = 0.0
    """The highest share that the cost is above; absent below the first threshold."""
    forecast_threshold_exceeded: float = 0.0


class _Message(msgspec.Struct, frozen=True):
    data: str


class _Published(msgspec.Struct, frozen=True):
    message: _Message


def observation_of(event: object) -> Observation:
    """Return what a Pub/Sub message says of a budget.

    Raises:
        InvalidRequestError: it is no budget message.
    """
    try:
        data = base64.b64decode(msgspec.convert(event, _Published).message.data, validate=True)
        budget = msgspec.json.decode(data, type=_Budget)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as exc:
        raise InvalidRequestError(f"the message is none of a Cloud Billing budget: {exc}") from exc
    return _observed(budget)


def _observed(budget: _Budget) -> Observation:
    severity = (
        Severity.WARNING if budget.alert_threshold_exceeded or budget.forecast_threshold_exceeded else Severity.FINE
    )
    severity = Severity.CRITICAL if budget.alert_threshold_exceeded >= 1 else severity
    cost, amount = (f"{value:.2f} {budget.currency_code}" for value in (budget.cost_amount, budget.budget_amount))
    return Observation(
        # The month is part of the name: an older month's message, late, must not recover this month's alert.
        alert=f"google_budget_{budget.cost_interval_start[:7]}",
        severity=severity,
        # Within a month cost only grows, so a lower message is an older one.
        severity_falling=Severity.CRITICAL,
        text=f"Google says that {cost} of the budget {budget.budget_display_name!r}, {amount}, are spent in the "
        f"month from {budget.cost_interval_start[:10]}. It knows that up to a day late.",
        facts={
            "cost": f"{budget.cost_amount}",
            "budget": f"{budget.budget_amount}",
            "currency": budget.currency_code,
        },
    )
