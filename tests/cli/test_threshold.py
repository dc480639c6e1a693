"""When the kill level goes up by itself, as the owner sets it."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Operator

OVERHEAD = {"1": 20}
"""What is in force where nothing is said."""


def test_set_changes_what_is_typed_and_nothing_else(anywhere: Operator) -> None:
    """On either ledger; the other thresholds stay."""
    anywhere.types("threshold set day.4=90 day.5=100 hour.2=80")

    assert anywhere.types("threshold set day.4=none day.1=50").exit_code == 0

    stored = anywhere.stored("gate/config")
    assert stored["kill_at_percent_of_day"] == {"1": 50, "5": 100}
    assert stored["kill_at_percent_of_hour"] == {"2": 80}
    assert anywhere.reads("threshold show") == {"hour": {"2": 80}, "day": {"1": 50, "5": 100}, "overhead": OVERHEAD}


def test_a_default_can_be_taken_away(operator: Operator) -> None:
    operator.types("threshold set overhead.1=none")

    assert operator.reads("threshold show")["overhead"] == {}
    assert "never goes up by itself" in operator.types("threshold show").stderr


def test_they_are_shown_in_the_order_in_which_they_are_reached(operator: Operator) -> None:
    operator.types("threshold set day.5=100 day.1=50 day.4=90")

    lines = [line for line in operator.types("threshold show").stdout.splitlines() if "day's budget" in line]

    assert [line.split()[-2:] for line in lines] == [["50", "1"], ["90", "4"], ["100", "5"]]


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("day.7=50", "day.7"),
        ("week.1=50", "week.1"),
        ("day.5=101", "kill_at_percent_of_day"),
        ("day.5=0", "kill_at_percent_of_day"),
        ("day.5=half", "whole number"),
        ("day.5", "FIELD=VALUE"),
    ],
)
def test_what_cannot_be_is_an_error_that_names_it_and_changes_nothing(
    operator: Operator, typed: str, says: str
) -> None:
    before = operator.stored("gate/config")

    result = operator.types(f"threshold set {typed}")

    assert result.exit_code != 0
    assert says in result.stderr
    assert operator.stored("gate/config") == before
