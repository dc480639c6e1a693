"""The kill ladder: how much of the service is switched off, for whom, and when it goes up by itself. Pure.

    0  normal
    1  warn              nothing is refused; the log and `twohop kill` say so
    2  no new workers    jobs run on the workers that there are (RunPod's lowPriority)
    3  answers only      who does not pay gets what was answered before, and nothing that costs GPU time
    4  paying only       who does not pay gets nothing; who pays goes on, signed in
    5  stop              nobody gets anything; no workers, no queue, no jobs in flight
    6  detach billing    as 5, and the project's billing account is taken away, if that was opted into

Each step takes something more away, and none gives anybody something back. It goes up by itself, once for each
threshold in each hour or day, and down by hand alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from enum import Enum, IntEnum

from gate.domain.lending import Shards, spent
from gate.domain.meter import budgets_of
from gate.domain.plan import Cohort, GateConfig
from gate.errors import KilledError

RETRY_SECONDS = 60


class KillLevel(IntEnum):
    """The steps of the ladder."""

    NORMAL = 0
    WARN = 1
    NO_NEW_WORKERS = 2
    ANSWERS_ONLY = 3
    PAYING_ONLY = 4
    STOP = 5
    DETACH_BILLING = 6


class Access(Enum):
    """What a caller gets at the level that there is."""

    ALL = "all"
    ANSWERS = "answers"
    """What was answered before, or is on its way for another request of theirs."""
    NOTHING = "nothing"


def access(config: GateConfig, *, cohorts: Collection[Cohort], plan_name: str) -> Access:
    """Return what a caller gets."""
    if config.kill_level >= KillLevel.STOP:
        return Access.NOTHING
    if config.kill_level < KillLevel.ANSWERS_ONLY or pays(config, cohorts=cohorts, plan_name=plan_name):
        return Access.ALL
    return Access.ANSWERS if config.kill_level == KillLevel.ANSWERS_ONLY else Access.NOTHING


def pays(config: GateConfig, *, cohorts: Collection[Cohort], plan_name: str) -> bool:
    """Return whether the owner named this plan or one of these cohorts as one that pays.

    Who shows a token is of its owner's cohort, and of that of all tokens. Whoever is not signed in never pays.
    """
    named = plan_name in config.paying_plans or not set(config.paying_cohorts).isdisjoint(cohorts)
    return named and Cohort.ANONYMOUS not in cohorts


def refusal(level: int) -> KilledError:
    """Return the error that a caller gets who is refused at a level."""
    return KilledError(
        f"refused at kill level {level}",
        details={"limit": "kill_level", "kill_level": level, "retry_after_seconds": RETRY_SECONDS},
    )


def crossed(config: GateConfig, shards: Shards, *, now: datetime) -> Mapping[str, KillLevel]:
    """Return the thresholds that are reached, each with its level.

    A threshold's name holds its period, so that one is told from the same one of the next day.
    """
    return dict(_crossed(config, shards, now))


def in_words(threshold: str) -> str:
    """Return a threshold's name as the reason for which the level went up."""
    period, percent, _, *overhead = threshold.split()
    share = f"{percent.removesuffix('%')} %"
    if overhead:
        return f"{share} of what the day has cost is no job's ({period}); `twohop budget show` has it as overhead"
    whose = "hour" if "T" in period else "day"
    return f"{share} of the {whose}'s budget is used or held ({period})"


def _crossed(config: GateConfig, shards: Shards, now: datetime) -> Iterator[tuple[str, KillLevel]]:
    for move in budgets_of(config, now=now):
        if move.limit is None or move.limit.name not in ("budget_per_hour", "budget_per_day"):
            continue
        is_hour = move.limit.name == "budget_per_hour"
        period = f"{now:%Y-%m-%dT%H}" if is_hour else f"{now:%Y-%m-%d}"
        thresholds = config.kill_at_percent_of_hour if is_hour else config.kill_at_percent_of_day
        for level, percent in thresholds.items():
            if spent(move.counter, shards) * 100 >= percent * move.limit.value:
                yield f"{period} {percent}% {level}", KillLevel(int(level))
