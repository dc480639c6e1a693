"""When a budget ends at this pace: pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.guard.forecast import Sample, budget_ends_at, in_words, kept
from tests.makers import NOON

MIDNIGHT = NOON + timedelta(hours=12)
HOUR = timedelta(hours=1)


def ends_at(before: int, spent: int, *, budget: int = 1_000, elapsed: timedelta = HOUR) -> datetime | None:
    return budget_ends_at(before, NOON - elapsed, spent, NOON, budget=budget, period_ends=MIDNIGHT)


@pytest.mark.parametrize(
    ("before", "spent", "expected"),
    [
        (400, 600, NOON + timedelta(hours=2)),
        (0, 500, NOON + timedelta(hours=1)),
        (1_000, 1_000, NOON),
        (500, 1_200, NOON),
        (600, 600, None),
        (600, 590, None),
        (590, 600, None),
    ],
    ids=["200 an hour", "half an hour's worth", "used up", "over", "rests", "settled lower", "lasts past midnight"],
)
def test_the_pace_of_the_last_hour_goes_on(before: int, spent: int, expected: datetime | None) -> None:
    assert ends_at(before, spent) == expected


def test_a_pace_of_moments_is_none() -> None:
    """One job held in the last second would end the budget within the minute."""
    assert ends_at(0, 500, elapsed=timedelta(seconds=1)) is None


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 10**9), st.integers(240, 3_600))
def test_a_forecast_is_never_in_the_past_nor_after_the_period(
    before: int, spent: int, budget: int, seconds: int
) -> None:
    found = ends_at(before, spent, budget=budget, elapsed=timedelta(seconds=seconds))

    assert found is None or NOON <= found < MIDNIGHT


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (None, ""),
        (NOON, " The day's budget is used up."),
        (NOON + timedelta(hours=4, minutes=40), " At this pace the day's budget ends at 16:40 UTC."),
        (NOON + timedelta(days=2), " At this pace the day's budget ends at 12:00 on 23 November UTC."),
    ],
    ids=["lasts", "over", "today", "another day"],
)
def test_it_is_said_in_words(at: datetime | None, words: str) -> None:
    assert in_words(at, period="day", now=NOON) == words


def test_samples_are_kept_for_an_hour() -> None:
    """The document that keeps them does not grow."""
    samples: tuple[Sample, ...] = ()
    for minute in range(0, 300, 5):
        at = NOON + timedelta(minutes=minute)
        samples = kept(samples, Sample(at=at, day_microdollars=minute, month_microdollars=minute))

    assert len(samples) == 13
    assert samples[-1].at - samples[0].at == HOUR
