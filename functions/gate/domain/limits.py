"""What a hold moves and what it may run into: counters, their limits, and the periods in which they are counted."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

import msgspec

Key = tuple[str, tuple[str, ...]]
"""A counter's address: the account (a document's path) and the path of a field in it."""


class LimitName(StrEnum):
    """Every limit a request can run into."""

    REQUESTS_PER_MINUTE = "requests_per_minute"
    REQUESTS_PER_DAY = "requests_per_day"
    REQUESTS_PER_MONTH = "requests_per_month"
    CONCURRENCY = "concurrency"
    GPU_SECONDS_PER_DAY = "gpu_seconds_per_day"
    MICRODOLLARS_PER_HOUR = "microdollars_per_hour"
    MICRODOLLARS_PER_DAY = "microdollars_per_day"
    MICRODOLLARS_PER_MONTH = "microdollars_per_month"
    TOKEN_BUDGET_PER_HOUR = "token_budget_per_hour"  # noqa: S105 - a word, no password; so are the next two
    TOKEN_BUDGET_PER_DAY = "token_budget_per_day"  # noqa: S105
    TOKEN_BUDGET_PER_MONTH = "token_budget_per_month"  # noqa: S105
    COHORT_BUDGET_PER_HOUR = "cohort_budget_per_hour"
    COHORT_BUDGET_PER_DAY = "cohort_budget_per_day"
    COHORT_BUDGET_PER_MONTH = "cohort_budget_per_month"
    MODEL_BUDGET_PER_HOUR = "model_budget_per_hour"
    MODEL_BUDGET_PER_DAY = "model_budget_per_day"
    MODEL_BUDGET_PER_MONTH = "model_budget_per_month"
    AGE = "age"
    """No limit of a plan: it tells a newcomer from those who were first seen long ago (`steps.newcomers`)."""
    BUDGET_PER_HOUR = "budget_per_hour"
    BUDGET_PER_DAY = "budget_per_day"
    BUDGET_PER_MONTH = "budget_per_month"

    @property
    def is_budget(self) -> bool:
        """True for the budgets that the owner sets for many callers together, which no plan can change."""
        return self.startswith(("budget_", "cohort_budget_", "model_budget_"))

    @property
    def is_token(self) -> bool:
        """True for what one API token may spend."""
        return self.startswith("token_budget_")


# Each call makes some sixty of the next two. They hold nothing that could hold them: no collector has to look.
class Limit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A ceiling on one counter."""

    name: LimitName
    value: int
    """The limit as the plan says it."""
    ceiling: int
    """The highest sum that is admitted, in the counter's unit."""
    unit: int = 1
    """How much of the counter makes one of the limit."""
    resets_at: datetime | None = None
    """When the counter starts anew; None if it does not."""


class Move(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One change of one counter."""

    account: str
    counter: tuple[str, ...]
    amount: int
    at_least: int | None = None
    """Lift the counter to this before adding."""
    at_most: int | None = None
    """Lower the counter to this instead of adding; one that was never moved becomes this."""
    limit: Limit | None = None

    @property
    def key(self) -> Key:
        """The counter's address."""
        return self.account, self.counter


class Periods(msgspec.Struct, frozen=True, kw_only=True):
    """The hour, the day and the month of a time: where their counters are, and when they end. All in UTC."""

    hour: tuple[str, ...]
    """Inside its day, with which it is forgotten."""
    day: tuple[str, ...]
    month: tuple[str, ...]
    hour_ends: datetime
    day_ends: datetime
    month_ends: datetime

    @classmethod
    def of(cls, at: datetime) -> Periods:
        """Return the periods that a time lies in."""
        return _periods_of(at.replace(minute=0, second=0, microsecond=0))

    @classmethod
    def of_hour(cls, at: datetime) -> Periods:
        """Return the periods that an hour lies in; the same hour is asked about at each call, many times."""
        midnight = at.replace(hour=0)
        day = ("days", f"{at:%Y-%m-%d}")
        return cls(
            hour=(*day, "hours", f"{at:%H}"),
            day=day,
            month=("months", f"{at:%Y-%m}"),
            hour_ends=midnight + timedelta(hours=at.hour + 1),
            day_ends=midnight + timedelta(days=1),
            month_ends=(midnight.replace(day=1) + timedelta(days=32)).replace(day=1),
        )


_periods_of = lru_cache(maxsize=64)(Periods.of_hour)
