"""`twohop budget`: the global budget, in the document gate/config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from gate.errors import PolicyError
from gate.plan import GateConfig, parse
from gate.policy import CONFIG_PATH
from twohop.counted import IN_FLIGHT, Counters, counters_under, day, month
from twohop.documents import changed, problems
from twohop.given import changes_argument, json_option, microdollars, pairs, whole_number
from twohop.session import Session
from twohop.show import Column, hint, short_dollars, show, show_json, table, warn

if TYPE_CHECKING:
    from gate.bootstrap import Store

_FIELDS = {
    "day": "budget_microdollars_per_day",
    "month": "budget_microdollars_per_month",
    "shards": "budget_shards",
}
_MISSING = f"{CONFIG_PATH} does not exist; `twohop init` makes it"


@click.group(no_args_is_help=True)
def budget() -> None:
    """The global budget that nothing goes beyond.

    A change reaches every running instance within POLICY_SECONDS, which is 10 unless you set it.
    """


@budget.command("show")
@json_option
@click.pass_obj
def show_(session: Session, *, as_json: bool) -> None:
    """Show the budget, and how much of it is used."""
    document, shards = session.run(_read)
    if document is None:
        raise PolicyError(_MISSING)
    if wrong := problems(GateConfig, document):
        raise PolicyError(f"{CONFIG_PATH} is malformed: {'; '.join(wrong)}; the last good one stays in force")
    config = parse(GateConfig, document, CONFIG_PATH)
    if as_json:
        show_json(_json(config, shards, session.now()))
        return
    _show_budget(config, shards, session.now())


@budget.command("set")
@changes_argument
@click.pass_obj
def set_(session: Session, changes: tuple[str, ...]) -> None:
    """Change the budget: day=DOLLARS month=DOLLARS shards=N.

    One shard is good for about one job a second; each holds an equal part of the budget.

    \b
        twohop budget set day=5 month=49.99
    """  # noqa: D301 - click takes a paragraph that begins with \b as it is
    typed = pairs(changes, known=_FIELDS)
    given = {
        _FIELDS[name]: whole_number(name, text) if name == "shards" else microdollars(name, text)
        for name, text in typed.items()
    }

    async def write(store: Store) -> tuple[dict[str, Any], dict[str, Any], dict[str, Counters]]:
        before, shards = await _read(store)
        if before is None:
            raise PolicyError(_MISSING)
        after = changed(GateConfig, before, given, CONFIG_PATH)
        await store.write(CONFIG_PATH, after)
        return before, after, shards

    before, after, shards = session.run(write)
    if wrong := problems(GateConfig, before):
        warn(f"{CONFIG_PATH} was malformed and is repaired: {'; '.join(wrong)}")
    _show_budget(parse(GateConfig, after, CONFIG_PATH), shards, session.now())
    for name in typed:
        if before.get(_FIELDS[name]) != after[_FIELDS[name]]:
            hint(f"{name}: {_words(name, before.get(_FIELDS[name]))} → {_words(name, after[_FIELDS[name]])}")


async def _read(store: Store) -> tuple[dict[str, Any] | None, dict[str, Counters]]:
    return await store.read(CONFIG_PATH), await counters_under(store, "budget/")


def _periods(config: GateConfig, shards: Mapping[str, Counters], now: datetime) -> list[_Period]:
    today = {shard: day(its, now).microdollars for shard, its in shards.items()}
    this_month = {shard: month(its, now).microdollars for shard, its in shards.items()}
    return [
        _Period(name="day", limit=config.budget_microdollars_per_day, shards=config.budget_shards, spent=today),
        _Period(
            name="month", limit=config.budget_microdollars_per_month, shards=config.budget_shards, spent=this_month
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Period:
    """The budget of one period, and what each shard has spent of it. Money that is held counts as spent."""

    name: str
    limit: int
    shards: int
    spent: Mapping[str, int]

    @property
    def used(self) -> int:
        """What all shards have spent."""
        return sum(self.spent.values())

    @property
    def reach(self) -> int:
        """The most that this period can come to: each shard up to its part, and what was spent before a change."""
        names = {str(shard) for shard in range(self.shards)}
        inside = sum(max(self.spent.get(name, 0), self.limit // self.shards) for name in names)
        return inside + sum(amount for name, amount in self.spent.items() if name not in names)

    def as_json(self) -> dict[str, int]:
        """Return it as `--json` shows it."""
        return {"limit_microdollars": self.limit, "used_microdollars": self.used, "reach_microdollars": self.reach}


def _json(config: GateConfig, shards: Mapping[str, Counters], now: datetime) -> dict[str, Any]:
    return {
        **{period.name: period.as_json() for period in _periods(config, shards, now)},
        "shards": config.budget_shards,
        "in_flight": _in_flight(shards),
        "plans": config.plans,
    }


def _show_budget(config: GateConfig, shards: Mapping[str, Counters], now: datetime) -> None:
    periods = _periods(config, shards, now)
    made = table(
        Column(name="budget"),
        *(Column(name=name, number=True) for name in ("limit µ$", "used µ$", "limit", "used", "left")),
    )
    for period in periods:
        amounts = (period.limit, period.used, max(0, period.limit - period.used))
        made.add_row(
            f"this {period.name}",
            *(f"{amount:,}" for amount in amounts[:2]),
            *(short_dollars(one) for one in amounts),
        )
    plans = ", ".join(f"{cohort.value} → {name}" for cohort, name in config.plans.items()) or "nobody"
    show(made, "", f"shards     {config.budget_shards}", f"in flight  {_in_flight(shards)}", f"plans      {plans}")
    for period in periods:
        if period.reach > period.limit:
            warn(
                f"this {period.name} can come to {short_dollars(period.reach)}: what was spent before the budget "
                "or its shards were changed stays where it was spent"
            )


def _in_flight(shards: Mapping[str, Counters]) -> int:
    return sum(counters.get(IN_FLIGHT, 0) for counters in shards.values())


def _words(name: str, value: Any) -> str:
    if not isinstance(value, int):
        return "missing"
    return f"{value:,}" if name == "shards" else f"{short_dollars(value)} ({value:,} µ$)"
