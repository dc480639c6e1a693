"""The budgets of all scopes: how they are typed, and how much of each is used. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gate.domain.lending import Shards, spent
from gate.domain.limits import Periods
from gate.domain.plan import NO_BUDGET, Budget, GateConfig
from twohop.errors import BadInputError
from twohop.given import microdollars, pairs, whole_number

PERIODS = ("hour", "day", "month")
NO_LIMIT = "none"
_SHARDS = "shards"
_SCOPED = re.compile(r"^(cohort|model):(.+)\.(hour|day|month)$")
_EXAMPLES = ("cohort:NAME.day", "model:NAME.day")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The budget of one scope in one period."""

    scope: str
    """As it is typed: "cohort:anonymous", or nothing for all callers together."""
    period: str
    limit: int | None
    """In micro-dollars; None if this scope does not limit this period."""
    used: int
    """In micro-dollars. Money that is held counts as used."""

    @property
    def name(self) -> str:
        """What `budget set` calls it."""
        return f"{self.scope}.{self.period}" if self.scope else self.period

    @property
    def left(self) -> int | None:
        """What may still be used."""
        return None if self.limit is None else max(0, self.limit - self.used)


def read_changes(typed: tuple[str, ...]) -> dict[str, int | None]:
    """Return what was typed, by field: micro-dollars, the number of shards, or None for no limit.

    Raises:
        BadInputError: it names no field, or no value that the field may have.
    """
    scoped = [name for pair in typed if _SCOPED.match(name := pair.partition("=")[0])]
    given = pairs(typed, known=dict.fromkeys([*PERIODS, _SHARDS, *_EXAMPLES, *scoped]))
    return {name: _value(name, text) for name, text in given.items()}


def fields_after(document: Mapping[str, Any], changes: Mapping[str, int | None]) -> dict[str, Any]:
    """Return the fields of gate/config that changes make different."""
    after: dict[str, Any] = {}
    for name, value in changes.items():
        match = _SCOPED.match(name)
        if match:
            kind, scope, period = match.groups()
            field = f"{kind}_budgets"
            scopes = after.setdefault(field, {**_mapping(document.get(field))})
            scopes[scope] = {**_mapping(scopes.get(scope)), _field(period): value}
        else:
            after["budget_shards" if name == _SHARDS else f"budget_{_field(name)}"] = value
    return {name: _without_none(value) if isinstance(value, dict) else value for name, value in after.items()}


def rows(config: GateConfig, shards: Shards, *, now: datetime) -> list[Row]:
    """Return every budget, and what each scope without one has used this month."""
    found = list(_rows("", config.budget, ("microdollars",), shards, now))
    for kind, budgets in (("cohort", config.cohort_budgets), ("model", config.model_budgets)):
        counter = f"{kind}_microdollars"
        limits = {str(name): budget for name, budget in budgets.items()}
        for name in sorted({*limits, *_counted(counter, shards, now)}):
            budget = limits.get(name, NO_BUDGET)
            some = _rows(f"{kind}:{name}", budget, (counter, name), shards, now)
            found += [row for row in some if row.limit is not None or (budget == NO_BUDGET and row.period == "month")]
    return found


def _rows(scope: str, budget: Budget, counter: tuple[str, ...], shards: Shards, now: datetime) -> Iterator[Row]:
    at = Periods.of(now)
    for period, where in zip(PERIODS, (at.hour, at.day, at.month), strict=True):
        limit: int | None = getattr(budget, _field(period))
        yield Row(scope=scope, period=period, limit=limit, used=spent(where + counter, shards))


def _counted(counter: str, shards: Shards, now: datetime) -> set[str]:
    prefix = (*Periods.of(now).month, counter)
    return {path[-1] for counters in shards.values() for path in counters if path[:-1] == prefix}


def _value(name: str, text: str) -> int | None:
    if name == _SHARDS:
        return whole_number(name, text)
    if text != NO_LIMIT:
        return microdollars(name, text)
    if name in ("day", "month"):
        raise BadInputError(f"the {name}'s budget cannot be {NO_LIMIT}: without it nothing bounds the bill")
    return None


def _field(period: str) -> str:
    return f"microdollars_per_{period}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _without_none(scopes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Leave out what does not limit, and scopes of which nothing is left."""
    kept = {
        name: {period: value for period, value in budget.items() if value is not None}
        for name, budget in scopes.items()
    }
    return {name: budget for name, budget in kept.items() if budget}
