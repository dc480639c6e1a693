"""`twohop cost --worst`: the most that can be lost with what is configured, why, and what lowers it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate import prices
from gate.control import ProviderControl
from gate.domain.plan import STARTER_CONFIG, STARTER_PLANS, GateConfig, Plan, parse
from gate.errors import ProviderError, SettingsError
from gate.parts import served_model
from gate.providers import open_control
from gate.settings import Settings
from twohop.configured import read_env_file
from twohop.cost import tables
from twohop.cost.assumed import Assumed
from twohop.cost.book import book_of
from twohop.cost.deployed import functions
from twohop.cost.modes.lines import write_csv
from twohop.cost.remedies import remedies
from twohop.cost.worst import Configured, Worst, worst_case
from twohop.errors import BadInputError
from twohop.session import Session
from twohop.show import hint, show, show_json

if TYPE_CHECKING:
    from gate.parts import Store

_UNNAMED = {"GCLOUD_PROJECT": "unnamed", "WORKER_SECRET": "unknown"}
"""What settings ask for that no price depends on."""
_ASSUMED = "assumptions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What was typed in place of what is set."""

    hardware: str | None
    planned_hardware: str
    """Of the scenario, where none is set yet."""
    workers_max: int | None
    assumed: Assumed


def worst(session: Session, typed: Typed, *, as_json: bool, as_csv: bool, explain: str | None, **_: Any) -> int:
    """Show the most that can be lost with what is configured; return it for a day."""
    env = {**_UNNAMED, "HARDWARE": typed.planned_hardware, **read_env_file(Path("functions/.env")), **os.environ}
    env |= {"HARDWARE": typed.hardware} if typed.hardware else {}
    if key := env.get("RUNPOD_CONTROL_KEY"):
        env.setdefault("RUNPOD_API_KEY", key)  # Nothing is asked of the job API, which is what that one is for.
    configured = _configured(session, env, typed)
    found = worst_case(configured)
    if explain:
        _explain(found, configured, explain)
    elif as_json:
        words = {"remedies": remedies(configured), "assumed": configured.assumed}
        amounts = {
            "microdollars_per_hour": found.microdollars_per_hour,
            "microdollars_per_day": found.microdollars_per_day,
        }
        show_json({**asdict(found), **words, **amounts, "binding": found.binding().name})
    elif as_csv:
        kinds = {"jobs": found.gpu_bounds, "without_jobs": (found.without_jobs,), "refused": found.refused}
        write_csv([{"bounds": kind, **asdict(bound)} for kind, bounds in kinds.items() for bound in bounds])
    else:
        _show(found, configured)
    return found.microdollars_per_day


def _configured(session: Session, env: Mapping[str, str], typed: Typed) -> Configured:
    settings, today = Settings.from_env(env), session.now().date()
    config, plans = _policy(session)
    model = served_model(settings, on=today)
    book = book_of(settings.hardware, on=today)
    account = prices.load(book.provider).account
    limit = account.nanodollars_per_hour_max if account else None
    workers = typed.workers_max if typed.workers_max is not None else _workers_max(settings, env)
    if workers is None and account:
        workers = account.workers_max
        hint(
            f"max workers: {workers}, a new account's at {book.provider}; it is asked if RUNPOD_ENDPOINT_ID and "
            "RUNPOD_CONTROL_KEY are set"
        )
    return Configured(
        book=book,
        functions=tuple(functions()),
        config=config,
        plans=plans,
        model=model.name,
        tariff=model.tariff,
        execution_ms_max=model.execution_ms_max,
        wait_ms_max=model.wait_ms_max,
        workers_max=workers,
        account_microdollars_per_hour=limit // 1000 if limit else None,
        gate_vcpus=model.tariff.gate_vcpus,
        assumed=typed.assumed,
    )


def _workers_max(settings: Settings, env: Mapping[str, str]) -> int | None:
    """Return what is set at the provider now; None if it cannot be asked."""
    if not env.get("RUNPOD_API_KEY"):
        return None
    try:
        control = open_control(settings)
        workers = asyncio.run(_asked(control)) if control else None
    except (ProviderError, SettingsError) as exc:
        hint(f"the provider does not say its max workers: {exc}")
        return None
    if workers is not None:
        hint(f"max workers: {workers}, as the provider says now")
    return workers


async def _asked(control: ProviderControl) -> int:
    try:
        return (await control.capacity()).workers_max
    finally:
        await control.close()


def _show(found: Worst, configured: Configured) -> None:
    best = remedies(configured)[0]
    hour, day = tables.money(found.microdollars_per_hour), tables.money(found.microdollars_per_day)
    show(
        f"with these settings the most that you can lose is {hour} an hour, {day} a day, because",
        *_because(found),
        "",
    )
    show(tables.bounds_table(found.gpu_bounds, binding=found.binding()), "", "traffic that is refused costs at most:")
    show("", tables.bounds_table(found.refused), "")
    show(
        f"what lowers it most: {best.setting}, {best.change}: {tables.money(best.microdollars_per_day)} a day, "
        f"{tables.money(best.saved_microdollars_per_day)} less"
    )
    hint(f"--explain {_ASSUMED} shows what is taken for granted; each may stand under worst: in twohop-cost.yaml")


def _because(found: Worst) -> Iterator[str]:
    day, hour, idle = found.binding(), found.binding(hour=True), found.without_jobs
    refused = tables.money(sum(one.microdollars_per_day for one in found.refused))
    yield f"- jobs cost at most {tables.money(day.microdollars_per_day)} a day by {day.name}: {day.because}"
    if hour is not day:
        yield f"- and {tables.money(hour.microdollars_per_hour)} an hour by {hour.name}: {hour.because}"
    yield f"- {idle.name} cost at most {tables.money(idle.microdollars_per_day)} a day by {idle.because}"
    yield f"- refused traffic costs at most {refused} a day by max_instances: {found.refused[0].because}"


def _explain(found: Worst, configured: Configured, name: str) -> None:
    if name == _ASSUMED:
        show(tables.assumed_table(configured.assumed))
        return
    bounds = {bound.name: bound for bound in (*found.gpu_bounds, found.without_jobs, *found.refused)}
    if name not in bounds:
        raise BadInputError(f"there is no limit {name!r}; there are: {', '.join((_ASSUMED, *bounds))}")
    one = bounds[name]
    hour, day = (f"${amount / 1e6:,.6f}" for amount in (one.microdollars_per_hour, one.microdollars_per_day))
    show(f"{one.name}: {one.because} = {hour} an hour, {day} a day")


def _policy(session: Session) -> tuple[GateConfig, Mapping[str, Plan]]:
    """Return the configuration in force and the cohorts' plans.

    The starter's stand in where there is no ledger yet, or nothing in it.
    """

    async def read(store: Store) -> tuple[GateConfig, Mapping[str, Plan]]:
        document = await store.read("gate/config")
        config = parse(GateConfig, document, "gate/config") if document else STARTER_CONFIG
        names = sorted(set(config.plans.values()))
        plans = {
            name: parse(Plan, found, f"plans/{name}")
            for name in names
            if (found := await store.read(f"plans/{name}"))
        }
        return config, plans or STARTER_PLANS

    try:
        return session.run(read)
    except BadInputError as exc:
        hint(f"{exc.message}; the starter budget and plans are taken")
        return STARTER_CONFIG, STARTER_PLANS
