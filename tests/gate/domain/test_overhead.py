"""What is billed and no job's is counted once, and raises the level at its share of the day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.domain import kill, overhead
from gate.domain.limits import Periods
from gate.domain.overhead import OVERHEAD
from tests.makers import NOON, make_config

AT = Periods.of(NOON)
MONEY = "microdollars"


def after(counters: Mapping[tuple[str, ...], int], microdollars: int) -> dict[tuple[str, ...], int]:
    found = dict(counters)
    for move in overhead.moves_to_count(microdollars, {"budget/0": counters}, at=NOON):
        found[move.counter] = found.get(move.counter, 0) + move.amount
    return found


@given(st.lists(st.integers(min_value=0, max_value=10**9)))
def test_counting_again_counts_no_more_than_the_most(seen: list[int]) -> None:
    """Two instances may count at once, and a bill may be lowered later: the ledger never says too little."""
    counters: dict[tuple[str, ...], int] = {}
    for microdollars in seen:
        counters = after(counters, microdollars)

    most = max(seen, default=0)
    for period in (AT.day, AT.month):
        assert counters.get((*period, OVERHEAD), 0) == counters.get((*period, MONEY), 0) == most


def test_a_days_overhead_is_added_to_what_the_month_has() -> None:
    """The month knows of other days."""
    counters = after({(*AT.month, OVERHEAD): 70, (*AT.month, MONEY): 500}, 30)

    assert (counters[*AT.month, OVERHEAD], counters[*AT.month, MONEY], counters[*AT.day, OVERHEAD]) == (100, 530, 30)


def test_the_last_hour_of_a_month_is_counted_in_that_month() -> None:
    """It is known only when the next has begun."""
    last = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)

    [day, *_] = overhead.moves_to_count(1, {}, at=last)

    assert day.counter == ("days", "2026-11-30", OVERHEAD)


@pytest.mark.parametrize(
    ("its", "whole", "levels"),
    [
        (0, 0, set()),
        (49_999, 60_000, set()),
        (60_000, 300_001, set()),
        (60_000, 300_000, {1}),
        (90_000, 99_000, {1, 4}),
    ],
)
def test_a_share_of_the_day_sets_a_level_and_says_why(its: int, whole: int, levels: set[int]) -> None:
    """Below five cents it says nothing."""
    shards = {"budget/0": {(*AT.day, OVERHEAD): its, (*AT.day, MONEY): whole}}
    config = make_config(kill_at_percent_of_overhead={"1": 20, "4": 80})

    crossed = overhead.crossed(config, shards, now=NOON)

    assert set(crossed.values()) == levels
    assert all("no job's (2026-11-21)" in kill.in_words(name) for name in crossed)


def test_nothing_said_is_a_warning_at_a_fifth() -> None:
    """The default takes nothing away from anybody."""
    assert make_config().kill_at_percent_of_overhead == {"1": 20}
