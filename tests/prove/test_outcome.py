"""What a proof calls a failure: as little as one micro-dollar, one job, one hold, one caller, one counter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from twohop.prove.outcome import WRONG_COUNTER, Outcome

_CLEAN = Outcome(
    case="clean",
    budget=1_000,
    billed=990,
    ledger=1_000,
    most=1_000,
    jobs=99,
    settled=1_000,
    holds_left=0,
    hold_commits=1,
    settle_commits=1,
)


def test_all_of_the_budget_may_be_spent() -> None:
    """To the last micro-dollar."""
    assert _CLEAN.complaints == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"billed": 1_001, "ledger": 1_001, "settled": 1_001}, "spent above the budget"),
        ({"most": 1_001}, "spent above the budget"),
        ({"ledger": 989, "settled": 989}, "the bill is above the ledger"),
        ({"settled": 999}, "a job was billed twice"),
        ({"run_twice": 1}, "a job was run twice"),
        ({"run_unheld": 1}, "a job was run that nobody holds"),
        ({"holds_left": 1}, "a hold was left behind"),
        ({"refused_early": 1}, "an honest caller was refused"),
        ({"billed": 0}, "nothing was spent"),
        ({"hold_commits": 2}, "a hold took more than one commit"),
        ({"settle_commits": 2, "settled_again": 1}, "settlements took more than one commit"),
        ({"hot_reads": 1}, "the hot path reads"),
        ({"differences": ("usage/a in_flight is 1, and its jobs make 0",)}, WRONG_COUNTER),
    ],
    ids=str,
)
def test_one_is_enough_to_fail(change: dict[str, Any], complaint: str) -> None:
    """There is no tolerance that a small leak could hide in."""
    complaints = replace(_CLEAN, **change).complaints

    assert any(one.startswith(complaint) for one in complaints)
