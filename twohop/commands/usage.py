"""`twohop usage`: who used what, and what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from gate.domain import meter
from gate.domain.meter import LimitName, Remaining
from gate.domain.plan import Cohort
from gate.errors import ForbiddenError, PolicyError
from gate.ports import Caller
from gate.steps.newcomers import Newcomers
from gate.steps.policy import Policies, Policy
from twohop.counted import ACCOUNTS_MAX, IN_FLIGHT, Counted, Counters, counters_under, day, days, month
from twohop.given import json_option, uid_argument
from twohop.heard import Heard
from twohop.session import Session
from twohop.show import (
    NOTHING,
    Column,
    distance,
    hint,
    rounded_dollars,
    seconds,
    short_dollars,
    show,
    show_json,
    table,
    warn,
)

if TYPE_CHECKING:
    from gate.parts import Store

_DAYS_SHOWN = 7


@click.command()
@uid_argument(required=False)
@json_option
@click.pass_obj
def usage(session: Session, uid: str | None, *, as_json: bool) -> None:
    """Show who used what today and this month; with UID, what is left of each of their limits.

    Days and months are those of UTC. What is in flight counts with its hold until it is settled.
    """
    if uid is None:
        _usage_of_all(session, as_json=as_json)
    else:
        _usage_of_one(session, uid, as_json=as_json)


def _usage_of_all(session: Session, *, as_json: bool) -> None:
    found = session.run(lambda store: counters_under(store, "usage/"))
    now = session.now()
    callers = sorted(found.items(), key=lambda item: (-month(item[1], now).microdollars, item[0]))
    if as_json:
        show_json([_summary(caller, its, now) for caller, its in callers])
    elif callers:
        _show_all(dict(callers), now)
    else:
        hint("nobody has used anything yet")
    if len(found) == ACCOUNTS_MAX:
        warn(f"there are more than {ACCOUNTS_MAX:,} callers; these are the first by name")


def _summary(caller: str, counters: Counters, now: datetime) -> dict[str, Any]:
    return {
        "caller": caller,
        "in_flight": counters.get(IN_FLIGHT, 0),
        "today": day(counters, now).as_json(),
        "month": month(counters, now).as_json(),
    }


def _show_all(callers: dict[str, Counters], now: datetime) -> None:
    today = sum((day(its, now) for its in callers.values()), Counted())
    this_month = sum((month(its, now) for its in callers.values()), Counted())
    in_flight = sum(its.get(IN_FLIGHT, 0) for its in callers.values())
    made = table(
        Column(name="caller", may_shrink=True, total=f"{len(callers)} in all"),
        *_columns("today", today),
        *_columns(f"{now:%b}", this_month),
        Column(name="in\nflight", number=True, total=f"{in_flight:,}"),
    )
    for caller, its in callers.items():
        cells = (*_cells(day(its, now)), *_cells(month(its, now)))
        made.add_row(caller, *cells, f"{its.get(IN_FLIGHT, 0):,}")
    show(made)


def _columns(period: str, total: Counted) -> list[Column]:
    """The period's name stands above the first of its three columns."""
    names = (f"{period}\nreqs", "\nGPU s", "\n$")
    return [Column(name=name, number=True, total=cell) for name, cell in zip(names, _cells(total), strict=True)]


def _cells(counted: Counted) -> list[str]:
    return [f"{counted.requests:,}", seconds(counted.gpu_ms), rounded_dollars(counted.microdollars)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What is known of one caller."""

    cohort: Cohort
    counters: Counters
    policy: Policy | None
    refusal: str
    """Why the gate refuses them, if it does."""


def _usage_of_one(session: Session, uid: str, *, as_json: bool) -> None:
    heard = Heard()
    standing = session.run(lambda store: _standing(store, session, heard, uid))
    now = session.now()
    for event in heard.events("policy.malformed"):
        warn(f"{event['reason']}; the last good one stays in force")
    if as_json:
        show_json(_json(uid, standing, now))
        return
    _show_limits(uid, standing, now)
    _show_days(standing.counters, now)


async def _standing(store: Store, session: Session, heard: Heard, uid: str) -> _Standing:
    """Ask the gate's own policy. Only a token says who is anonymous, so the last job is asked instead."""
    newest = await store.jobs(caller=uid, limit=1)
    anonymous = bool(newest) and newest[0].cohort == Cohort.ANONYMOUS
    caller = Caller(uid=uid, cohort=Cohort.ANONYMOUS if anonymous else Cohort.VERIFIED)
    counters = await store.counters(meter.usage_account(uid))
    policies = Policies(documents=store, notifier=heard.log, clock=session.clock, fresh_seconds=0)
    try:
        caller = await Newcomers(policies=policies, ledger=store, clock=session.clock).as_seen(caller)
        policy = await policies.for_caller(caller)
    except (ForbiddenError, PolicyError) as exc:
        return _Standing(cohort=caller.cohort, counters=counters, policy=None, refusal=str(exc))
    return _Standing(cohort=caller.cohort, counters=counters, policy=policy, refusal="")


def _json(uid: str, standing: _Standing, now: datetime) -> dict[str, Any]:
    policy = standing.policy
    return {
        **_summary(uid, standing.counters, now),
        "cohort": standing.cohort,
        "plan": policy.plan_name if policy else None,
        "refused": standing.refusal or None,
        "limits": [
            {
                "name": left.name,
                "limit": left.limit,
                "used": left.used,
                "remaining": left.remaining,
                "resets_at": left.resets_at,
            }
            for left in (meter.remaining(policy.plan, standing.counters, now=now) if policy else ())
        ],
        "days": {name: counted.as_json() for name, counted in days(standing.counters, limit=_DAYS_SHOWN).items()},
    }


def _show_limits(uid: str, standing: _Standing, now: datetime) -> None:
    if standing.policy is None:
        show(f"refused: {standing.refusal}")
        return
    made = table(
        Column(name=uid),
        *(Column(name=name, number=True) for name in ("used", "limit", "left")),
        Column(name="resets"),
    )
    for left in meter.remaining(standing.policy.plan, standing.counters, now=now):
        made.add_row(left.name.value, *_amounts(left, "{:,}".format), _resets(left, now))
        if left.name.value.startswith("microdollars"):
            made.add_row("", *_amounts(left, short_dollars), "", style="dim")
    show(f"plan {standing.policy.plan_name}, {standing.cohort.value} caller", "", made)


def _amounts(left: Remaining, words: Callable[[int], str]) -> list[str]:
    return [NOTHING if left.used is None else words(left.used), words(left.limit), words(left.remaining)]


def _resets(left: Remaining, now: datetime) -> str:
    if left.name is LimitName.CONCURRENCY:
        return "when a job ends"
    if left.resets_at is None or left.resets_at <= now:
        return "all free now"
    return f"{left.resets_at:%d %b %H:%M}, in {distance(left.resets_at - now)}"


def _show_days(counters: Counters, now: datetime) -> None:
    made = table(Column(name="day"), *(Column(name=name, number=True) for name in ("requests", "GPU s", "$")))
    counted = days(counters, limit=_DAYS_SHOWN)
    for name, one in counted.items():
        made.add_row("today" if name == f"{now:%Y-%m-%d}" else name, *_cells(one))
    show("", made) if counted else hint("nothing used yet")
