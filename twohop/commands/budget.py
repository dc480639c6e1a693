"""`twohop budget`: what may be spent by all, by a cohort, by a model, in the document gate/config."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from gate.domain.lending import Shards, spent
from gate.domain.limits import Periods
from gate.domain.overhead import of_a_period
from gate.domain.plan import GateConfig, parse
from gate.domain.scopes import BUDGET
from gate.errors import PolicyError
from gate.steps.holding import settle_loans
from gate.steps.policy import CONFIG_PATH
from twohop.budgets import PERIODS, Row, fields_after, read_changes, rows
from twohop.counted import IN_FLIGHT, counters_under
from twohop.documents import problems
from twohop.gate_config import change_config, read_config
from twohop.given import changes_argument, json_option
from twohop.session import Session
from twohop.show import NOTHING, Column, hint, short_dollars, show, show_json, table, warn

if TYPE_CHECKING:
    from gate.parts import Store


@click.group(no_args_is_help=True)
def budget() -> None:
    """The budgets that nothing goes beyond: of all callers together, of a cohort, of a model.

    A change reaches every running instance within POLICY_SECONDS, which is 10 unless you set it.
    """


@budget.command("show")
@json_option
@click.pass_obj
def show_(session: Session, *, as_json: bool) -> None:
    """Show the budgets, and how much of each is used."""

    async def read(store: Store) -> tuple[dict[str, Any], Shards]:
        return await read_config(store), await counters_under(store, BUDGET)

    document, shards = session.run(read)
    if wrong := problems(GateConfig, document):
        raise PolicyError(f"{CONFIG_PATH} is malformed: {'; '.join(wrong)}; the last good one stays in force")
    config = parse(GateConfig, document, CONFIG_PATH)
    found = rows(config, shards, now=session.now())
    if as_json:
        show_json(_json(config, shards, found, session.now()))
        return
    _show_budget(config, shards, found, session.now())


@budget.command("set")
@changes_argument
@click.pass_obj
def set_(session: Session, changes: tuple[str, ...]) -> None:
    """Change budgets: hour, day and month, of all callers, of a cohort, of a model; in dollars, or "none".

    shards=N is how many documents they are counted in: one is good for about one job a second. They lend to each
    other, so their number says nothing about what may be spent.

    \b
        twohop budget set hour=1 day=5 month=49.99
        twohop budget set cohort:anonymous.day=1 model:my-model.month=20
        twohop budget set hour=none
    """  # noqa: D301 - click takes a paragraph that begins with \b as it is
    given = read_changes(changes)

    async def write(store: Store) -> tuple[dict[str, Any], GateConfig, Shards]:
        before, after = await change_config(store, lambda document: fields_after(document, given))
        config = parse(GateConfig, after, CONFIG_PATH)
        await settle_loans(store, config, now=session.now())
        return before, config, await counters_under(store, BUDGET)

    before, config, shards = session.run(write)
    wrong = problems(GateConfig, before)
    if wrong:
        warn(f"{CONFIG_PATH} was malformed and is repaired: {'; '.join(wrong)}")
    _show_budget(config, shards, rows(config, shards, now=session.now()), session.now())
    for line in _differences(None if wrong else parse(GateConfig, before, CONFIG_PATH), config):
        hint(line)


def _json(config: GateConfig, shards: Shards, found: list[Row], now: datetime) -> dict[str, Any]:
    at = Periods.of(now)
    return {
        **_by_period([row for row in found if not row.scope]),
        "cohorts": _by_scope("cohort:", found),
        "models": _by_scope("model:", found),
        "overhead": {
            "day": {"microdollars": of_a_period(at.day, shards)},
            "month": {"microdollars": of_a_period(at.month, shards)},
        },
        "shards": config.budget_shards,
        "in_flight": spent(IN_FLIGHT, shards),
        "plans": config.plans,
    }


def _by_scope(prefix: str, found: list[Row]) -> dict[str, Any]:
    scopes = dict.fromkeys(row.scope for row in found if row.scope.startswith(prefix))
    return {scope.removeprefix(prefix): _by_period([row for row in found if row.scope == scope]) for scope in scopes}


def _by_period(found: list[Row]) -> dict[str, Any]:
    return {row.period: {"limit_microdollars": row.limit, "used_microdollars": row.used} for row in found}


def _show_budget(config: GateConfig, shards: Shards, found: list[Row], now: datetime) -> None:
    made = table(
        Column(name="budget", may_shrink=True),
        *(Column(name=name, number=True) for name in ("limit", "used", "left")),
    )
    for row in found:
        made.add_row(row.name, *_dollars(row))
    at = Periods.of(now)
    today, month = (short_dollars(of_a_period(period, shards)) for period in (at.day, at.month))
    plans = ", ".join(f"{cohort.value} → {name}" for cohort, name in config.plans.items()) or "nobody"
    show(
        made,
        "",
        f"shards     {config.budget_shards}",
        f"in flight  {spent(IN_FLIGHT, shards)}",
        f"overhead   {today} today, {month} this month: no job's, but billed, or lost in a power cut",
        f"plans      {plans}",
    )
    for row in found:
        if row.limit is not None and row.used > row.limit:
            warn(f"{row.name}: {short_dollars(row.used)} is used already; nothing more is let in before it ends")


def _dollars(row: Row) -> list[str]:
    return [NOTHING if amount is None else short_dollars(amount) for amount in (row.limit, row.used, row.left)]


def _differences(before: GateConfig | None, after: GateConfig) -> list[str]:
    old, new = _limits(before) if before else {}, _limits(after)
    return [
        f"{name}: {_words(name, old.get(name))} → {_words(name, new.get(name))}"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]


def _limits(config: GateConfig) -> Mapping[str, int | None]:
    """Return every number that `budget set` changes, by the name it has there."""
    scopes = {"": config.budget}
    scopes |= {f"cohort:{name}.": one for name, one in config.cohort_budgets.items()}
    scopes |= {f"model:{name}.": one for name, one in config.model_budgets.items()}
    limits = {
        f"{scope}{period}": getattr(one, f"microdollars_per_{period}")
        for scope, one in scopes.items()
        for period in PERIODS
    }
    return {**limits, "shards": config.budget_shards}


def _words(name: str, value: int | None) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if name == "shards" else f"{short_dollars(value)} ({value:,} µ$)"
