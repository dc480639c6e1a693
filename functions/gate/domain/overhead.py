"""What the provider bills and no job's settlement accounts for, as a line of its own in everybody's budget. Pure.

Workers that were started and got no job, a price that rose without a word, a job that was tried for ever, somebody
else's use of the endpoint: no job can tell of them, and the bill does. They are counted once the bill is known,
against the day and the month that they are of, in the first shard. The hour's budget is not moved: its hour is over.
What a power cut may have taken out of a ledger is counted in the same place (`ledgers/_reserve.py`), and in the hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from gate.domain.kill import KillLevel
from gate.domain.lending import Shards, spent
from gate.domain.limits import Move, Periods
from gate.domain.plan import GateConfig
from gate.domain.scopes import budget_account

OVERHEAD = "overhead_microdollars"
"""The counter, in the first shard's days and months. The same money is in `microdollars` beside it."""
_WORTH_A_LEVEL_MICRODOLLARS = 50_000
"""Below five cents a day, a share says nothing."""


def moves_to_count(microdollars: int, shards: Shards, *, at: datetime) -> list[Move]:
    """Return the moves after which a day's overhead is counted at so much; none if it is already, or at more.

    Counting twice is counting once. What was counted stays: the ledger may say too much, never too little.
    """
    periods = Periods.of(at)
    more = microdollars - of_a_period(periods.day, shards)
    if more <= 0:
        return []
    return _moves(more, periods)


def moves_to_add(microdollars: int, *, at: datetime) -> list[Move]:
    """Return the moves that count so much more in a day, and in its hour as well, which is not over."""
    periods = Periods.of(at)
    hour = Move(account=budget_account(0), counter=(*periods.hour, "microdollars"), amount=microdollars)
    return [*_moves(microdollars, periods), hour]


def _moves(microdollars: int, periods: Periods) -> list[Move]:
    counters = [(*period, name) for period in (periods.day, periods.month) for name in (OVERHEAD, "microdollars")]
    return [Move(account=budget_account(0), counter=counter, amount=microdollars) for counter in counters]


def of_a_period(period: tuple[str, ...], shards: Shards) -> int:
    """Return what is counted as overhead in a day or a month of `Periods`."""
    return spent((*period, OVERHEAD), shards)


def crossed(config: GateConfig, shards: Shards, *, now: datetime) -> Mapping[str, KillLevel]:
    """Return the thresholds of overhead that are reached today, each with its level; named as those of a budget."""
    return dict(_crossed(config, shards, now))


def _crossed(config: GateConfig, shards: Shards, now: datetime) -> Iterator[tuple[str, KillLevel]]:
    day = Periods.of(now).day
    overhead, whole = of_a_period(day, shards), spent((*day, "microdollars"), shards)
    if overhead < _WORTH_A_LEVEL_MICRODOLLARS:
        return
    for level, percent in config.kill_at_percent_of_overhead.items():
        if overhead * 100 >= percent * whole:
            yield f"{now:%Y-%m-%d} {percent}% {level} overhead", KillLevel(int(level))
