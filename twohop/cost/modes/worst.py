"""`twohop cost --worst`: the most that can be lost with what is configured, why, and what lowers it."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate import prices
from gate.domain.plan import STARTER_CONFIG, STARTER_PLANS, GateConfig, Plan, parse
from twohop.configured import read_env_file
from twohop.cost import tables
from twohop.cost.book import book_of
from twohop.cost.deployed import functions
from twohop.cost.worst import Configured, remedies, worst_case
from twohop.errors import BadInputError
from twohop.session import Session
from twohop.show import hint, show, show_json

if TYPE_CHECKING:
    from gate.bootstrap import Store

_REQUESTS_PER_SECOND = 300
"""What one instance refuses a second: `make bench` measures more on a fast machine; yours may differ."""
_ACCOUNTS_PER_HOUR = 1_000
"""Accounts with which an attacker signs in. Firebase lets one address make 100 anonymous ones an hour."""


def worst(session: Session, *, hardware: str | None, workers: int | None, as_json: bool, **_: Any) -> int:
    """Show the most that can be lost with what is configured; return it for a day."""
    env = {**read_env_file(Path("functions/.env")), **os.environ}
    config, plan = _policy(session)
    book = book_of(hardware or env.get("HARDWARE") or "runpod/AMPERE_16", on=session.now().date())
    account = prices.load(book.provider).account
    workers = workers if workers is not None else (account.workers_max if account else None)
    limit = account.nanodollars_per_hour_max if account else None
    configured = Configured(
        book=book,
        functions=tuple(functions()),
        budget_microdollars_per_day=config.budget_microdollars_per_day,
        budget_microdollars_per_month=config.budget_microdollars_per_month,
        budget_microdollars_per_hour=config.budget_microdollars_per_hour,
        plan_microdollars_per_day=plan,
        workers_max=workers,
        account_microdollars_per_hour=limit // 1000 if limit else None,
        gate_vcpus=1.0,
        requests_per_second=_REQUESTS_PER_SECOND,
        accounts_per_hour=_ACCOUNTS_PER_HOUR,
    )
    _show_worst(configured, as_json=as_json)
    return worst_case(configured).microdollars_per_day


def _show_worst(configured: Configured, *, as_json: bool) -> None:
    found, first = worst_case(configured), remedies(configured)
    if as_json:
        show_json({**asdict(found), "remedies": first, "microdollars_per_day": found.microdollars_per_day})
        return
    binding = found.binding()
    hour, day = tables.money(found.microdollars_per_hour), tables.money(found.microdollars_per_day)
    show(f"with these settings the most that you can lose is {hour} an hour, {day} a day, because")
    show(f"  {binding.name} binds the GPU's bill: {binding.because}", "")
    show(tables.bounds_table(found.gpu_bounds, binding=binding), "", "traffic that is refused costs at most:", "")
    show(tables.bounds_table(found.refused), "")
    show(
        f"what lowers it most: {first[0].setting}, {first[0].change}, "
        f"saves {tables.money(first[0].saved_microdollars_per_day)} a day"
    )
    hint("a worker that starts and gets no job is in no budget; the provider's max workers bounds that")


def _policy(session: Session) -> tuple[GateConfig, int]:
    """Return the configuration in force, and the most that a plan gives one caller a day.

    The starter's stand in where there is no ledger yet, or nothing in it.
    """

    async def read(store: Store) -> tuple[GateConfig, int]:
        document = await store.read("gate/config")
        config = parse(GateConfig, document, "gate/config") if document else STARTER_CONFIG
        names = sorted({f"plans/{name}" for name in config.plans.values()})
        plans = [(path, found) for path in names if (found := await store.read(path))]
        parsed = [parse(Plan, document, path) for path, document in plans] or list(STARTER_PLANS.values())
        return config, max(plan.microdollars_per_day for plan in parsed)

    try:
        return session.run(read)
    except BadInputError as exc:
        hint(f"{exc.message}; the starter budget and plans are taken")
        return STARTER_CONFIG, max(plan.microdollars_per_day for plan in STARTER_PLANS.values())
