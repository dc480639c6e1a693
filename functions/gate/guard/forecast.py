"""When a budget ends if spending goes on as it does. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

_WINDOW = timedelta(hours=1)
_WINDOW_LEAST = timedelta(minutes=4)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What had been spent at some time, in micro-dollars of the running day and of the running month."""

    at: datetime
    day_microdollars: int
    month_microdollars: int


def kept(samples: Sequence[Sample], now: Sample) -> tuple[Sample, ...]:
    """Return the samples to keep for the next look: those of the last hour, with the newest."""
    return (*(one for one in samples if now.at - one.at <= _WINDOW), now)


def budget_ends_at(
    spent_before: int, before: datetime, spent: int, now: datetime, *, budget: int, period_ends: datetime
) -> datetime | None:
    """Return when the budget ends at the pace between two looks; None if it lasts, or nothing can be said yet.

    Args:
        spent_before: micro-dollars of this period at the first look.
        before: the first look.
        spent: micro-dollars now.
        now: the second look.
        budget: of the period, in micro-dollars.
        period_ends: from then on there is a new budget.
    """
    if spent >= budget:
        return now
    elapsed = now - before
    grown = spent - spent_before
    if elapsed < _WINDOW_LEAST or grown <= 0:
        return None
    left = (budget - spent) / grown * elapsed
    return now + left if now + left < period_ends else None


def in_words(ends_at: datetime | None, *, period: str, now: datetime) -> str:
    """Return the forecast as a sentence's second half, in UTC; empty if the budget lasts."""
    if ends_at is None:
        return ""
    if ends_at <= now:
        return f" The {period}'s budget is used up."
    when = f"{ends_at:%H:%M}" if ends_at.date() == now.date() else f"{ends_at:%H:%M on %d %B}"
    return f" At this pace the {period}'s budget ends at {when} UTC."
