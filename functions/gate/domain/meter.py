"""Counters: what a hold moves, and what the sums after it decide.

Pure: no clock, no I/O. A ledger applies the moves of one job atomically and gives back the sums after them; every
rule of admission is then the same comparison, `sum <= ceiling`. Increments are serialised by the ledger, so each
admitted job saw a sum that includes itself and is within the limit: nothing is ever over-admitted.

The rate limit is GCRA (ITU-T I.371): the counter is a theoretical arrival time in microseconds, which a request
lifts to now if it lies in the past, and then moves on by the time between two requests; the ceiling is now plus the
burst. It is exact for any number of instances and needs no read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

from gate.domain.job import Job, Settlement
from gate.domain.limits import Key, Limit, LimitName, Move, Periods
from gate.domain.plan import NO_BUDGET, Budget, GateConfig, Plan
from gate.domain.scopes import (
    all_budget_scopes,
    budget_account,
    budget_moves,
    money_moves,
    plan_scope,
    token_scope,
    usage_account,
)

__all__ = [
    "FIRST_SEEN",
    "IN_FLIGHT",
    "Denial",
    "Key",
    "Limit",
    "LimitName",
    "Move",
    "Remaining",
    "accounts_of",
    "budget_account",
    "budgets_of",
    "callers_moves_to_settle",
    "decide",
    "from_microseconds",
    "moves_to_hold",
    "moves_to_put_back",
    "moves_to_settle",
    "remaining",
    "to_microseconds",
    "token_path",
    "usage_account",
]

IN_FLIGHT = ("in_flight",)
"""The counter of an account's jobs that are held and not settled."""
FIRST_SEEN = ("first_seen_us",)
"""The counter that keeps the time of an account's first hold."""
_RATE = ("rate_tat_us",)
_SETTLEMENT_RETRY = timedelta(seconds=1)


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """No, because of this limit, until then."""

    limit: Limit
    retry_at: datetime


class Remaining(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is left of one limit."""

    name: LimitName
    limit: int
    remaining: int
    used: int | None
    """Of the limit, rounded up. None for a rate, which has no such sum."""
    resets_at: datetime | None


def token_path(token_id: str) -> str:
    """Return the document that an API token stands and falls with."""
    return f"tokens/{token_id}"


def moves_to_hold(
    job: Job,
    plan: Plan,
    config: GateConfig,
    *,
    token_budget: Budget = NO_BUDGET,
    first_seen_by: datetime | None = None,
) -> tuple[Move, ...]:
    """Return what holding a job moves, each with the limit it may run into.

    Args:
        job: to be held.
        plan: its caller's.
        config: the budgets of many callers together.
        token_budget: of the token that was shown.
        first_seen_by: the hold is denied, by `LimitName.AGE`, if its caller was first seen later than this.
    """
    at = Periods.of(job.held_at)
    return (
        *_caller_moves(job, plan, at),
        _age_move(job, first_seen_by),
        *_token_moves(job, token_budget, job.held_microdollars, at),
        Move(account=budget_account(job.shard), counter=IN_FLIGHT, amount=1),
        *budget_moves(job, config, job.held_microdollars, at),
    )


def budgets_of(config: GateConfig, *, now: datetime) -> tuple[Move, ...]:
    """Return every limited budget of the running hour, day and month, as moves of nothing on the first shard."""
    moves = money_moves(all_budget_scopes(config), 0, Periods.of(now))
    return tuple(move for move in moves if move.limit)


def moves_to_put_back(moves: Iterable[Move]) -> tuple[Move, ...]:
    """Return what undoes the moves of a denied hold.

    A lifted arrival time stays lifted, which changes nothing; and who was seen, was seen.
    """
    return tuple(
        msgspec.structs.replace(move, amount=-move.amount, at_least=None, limit=None)
        for move in moves
        if move.at_most is None
    )


def moves_to_settle(job: Job, settlement: Settlement) -> tuple[Move, ...]:
    """Return what turns a job's hold into what it really took, in the periods in which it was held."""
    more = settlement.microdollars - job.held_microdollars
    at = Periods.of(job.held_at)
    return (
        *callers_moves_to_settle(job, settlement),
        *_token_moves(job, NO_BUDGET, more, at),
        Move(account=budget_account(job.shard), counter=IN_FLIGHT, amount=-1),
        *budget_moves(job, None, more, at),
    )


def accounts_of(job: Job) -> tuple[str, str]:
    """Return the accounts in which a job is counted: its caller's, and its shard of the budget."""
    return usage_account(job.caller), budget_account(job.shard)


def callers_moves_to_settle(job: Job, settlement: Settlement) -> list[Move]:
    """Return those of them that the caller's own limits hang on."""
    usage, at = usage_account(job.caller), Periods.of(job.held_at)
    more = settlement.microdollars - job.held_microdollars
    moves = [
        Move(account=usage, counter=IN_FLIGHT, amount=-1),
        Move(account=usage, counter=(*at.day, "gpu_ms"), amount=settlement.gpu_ms - job.held_gpu_ms),
        *money_moves([plan_scope(job.caller, NO_BUDGET)], more, at),
    ]
    if settlement.state is settlement.state.RELEASED:
        # The rate keeps counting it: a flood of requests that fail is a flood all the same.
        moves += [
            Move(account=usage, counter=(*at.day, "requests"), amount=-1),
            Move(account=usage, counter=(*at.month, "requests"), amount=-1),
        ]
    return moves


def decide(moves: Iterable[Move], sums: Mapping[Key, int], *, now: datetime) -> Denial | None:
    """Say no if any sum is above its ceiling, naming the limit that takes longest to come free.

    A caller's own limits go before the budgets: those may come free by borrowing, and that would not help. A
    newcomer's age goes before both, because other limits hold for them.
    """
    denials = [
        Denial(limit=move.limit, retry_at=_retry_at(move, move.limit, sums, now))
        for move in moves
        if move.limit is not None and sums[move.key] > move.limit.ceiling
    ]
    return max(denials, key=_precedence, default=None)


def _precedence(denial: Denial) -> tuple[bool, bool, datetime]:
    name = denial.limit.name
    return name is LimitName.AGE, not name.is_budget, denial.retry_at


def remaining(plan: Plan, counters: Mapping[tuple[str, ...], int], *, now: datetime) -> tuple[Remaining, ...]:
    """Return what is left of each limit of a plan in the account whose counters these are."""
    return (
        _rate_left(plan, counters.get(_RATE, 0), to_microseconds(now)),
        *(
            _left(limit, counters.get(counter, 0))
            for counter, _, limit in _counted(plan, Periods.of(now))
            if limit is not None
        ),
    )


def _caller_moves(job: Job, plan: Plan, at: Periods) -> list[Move]:
    """Return one move for each limit of a plan."""
    account = usage_account(job.caller)
    adds = {"requests": 1, "gpu_ms": job.held_gpu_ms, "microdollars": job.held_microdollars}
    return [
        _rate_move(account, plan, job.emission_us, to_microseconds(job.held_at)),
        *[
            Move(account=account, counter=counter, amount=adds[what], limit=limit)
            for counter, what, limit in _counted(plan, at)
        ],
    ]


@lru_cache(maxsize=1024)
def _counted(plan: Plan, at: Periods) -> tuple[tuple[tuple[str, ...], str, Limit | None], ...]:
    """Return each counter of a caller but the rate's, by what a job adds to it, and its limit.

    What is listed here is all that a plan limits. It is the same for all callers of a plan within an hour.
    """
    month = _limit(LimitName.REQUESTS_PER_MONTH, plan.requests_per_month, at.month_ends)
    gpu = _limit(LimitName.GPU_SECONDS_PER_DAY, plan.gpu_seconds_per_day, at.day_ends, 1000)
    return (
        (IN_FLIGHT, "requests", _limit(LimitName.CONCURRENCY, plan.concurrency, None)),
        ((*at.day, "requests"), "requests", _limit(LimitName.REQUESTS_PER_DAY, plan.requests_per_day, at.day_ends)),
        ((*at.day, "gpu_ms"), "gpu_ms", gpu),
        ((*at.month, "requests"), "requests", month),
        *((move.counter, "microdollars", move.limit) for move in money_moves([plan_scope("", plan.budget)], 0, at)),
    )


def _token_moves(job: Job, budget: Budget, microdollars: int, at: Periods) -> list[Move]:
    """Return none for a job that no API token paid for."""
    if job.token_id is None:
        return []
    return money_moves([token_scope(job.caller, job.token_id, budget)], microdollars, at)


def _rate_move(account: str, plan: Plan, emission_us: int, now_us: int) -> Move:
    limit = Limit(
        name=LimitName.REQUESTS_PER_MINUTE,
        value=plan.requests_per_minute,
        ceiling=now_us + plan.burst * plan.emission_us,
        unit=plan.emission_us,
    )
    return Move(account=account, counter=_RATE, amount=emission_us, at_least=now_us, limit=limit)


def _age_move(job: Job, first_seen_by: datetime | None) -> Move:
    limit = None
    if first_seen_by is not None:
        ceiling = to_microseconds(first_seen_by)
        limit = Limit(name=LimitName.AGE, value=ceiling, ceiling=ceiling)
    at = to_microseconds(job.held_at)
    return Move(account=usage_account(job.caller), counter=FIRST_SEEN, amount=0, at_most=at, limit=limit)


def _limit(name: LimitName, value: int, resets_at: datetime | None, unit: int = 1) -> Limit:
    return Limit(name=name, value=value, ceiling=value * unit, unit=unit, resets_at=resets_at)


def _retry_at(move: Move, limit: Limit, sums: Mapping[Key, int], now: datetime) -> datetime:
    """Return the earliest time at which trying again may help.

    While other jobs of the account are in flight, one of them may settle below its hold at any moment. When there
    are none, nothing comes free before the period ends, and the denial can be remembered until then.
    """
    if limit.name is LimitName.AGE:
        return now + timedelta(microseconds=sums[move.key] - limit.ceiling)
    if limit.name is LimitName.REQUESTS_PER_MINUTE:
        # Sums may hold neighbours that are denied too and about to be put back. Without them, one step is enough.
        return now + timedelta(microseconds=min(sums[move.key] - limit.ceiling, limit.unit))
    if limit.resets_at is None or sums[move.account, IN_FLIGHT] > 1:
        return now + _SETTLEMENT_RETRY
    return limit.resets_at


def _left(limit: Limit, total: int) -> Remaining:
    return Remaining(
        name=limit.name,
        limit=limit.value,
        remaining=max(0, limit.ceiling - total) // limit.unit,
        used=-(-total // limit.unit),
        resets_at=limit.resets_at,
    )


def _rate_left(plan: Plan, arrival_us: int, now_us: int) -> Remaining:
    arrival_us = max(arrival_us, now_us)
    return Remaining(
        name=LimitName.REQUESTS_PER_MINUTE,
        limit=plan.requests_per_minute,
        remaining=max(0, now_us + plan.burst * plan.emission_us - arrival_us) // plan.emission_us,
        used=None,
        resets_at=from_microseconds(arrival_us),
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(at: datetime) -> int:
    """Return a time as whole microseconds since 1970 UTC, exactly."""
    return (at - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """Undo `to_microseconds`."""
    return _EPOCH + timedelta(microseconds=value)
