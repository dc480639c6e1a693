"""Hop 1 is killed, and started again: the ceiling holds, and no job is paid or run twice."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from twohop.prove.crashes import crash_points, kill_at
from twohop.prove.outcome import Outcome

_WRITES = {"hold", "rebalance", "hand_over", "settle"}
_CALLS = {"submit", "status", "cancel"}
_SHORT = [
    "after 1 hold",
    "after 2 submit",
    "before 3 settle",
    "after 5 submit",
    "after 6 hand_over",
    "after 10 rebalance",
    "after 13 hand_over",
    "after 15 cancel",
]
"""One of each kind of thing that may be left behind; `twohop prove` has them all."""


def test_hop_1_can_die_at_every_write_and_at_every_call() -> None:
    """If a step is added, it is a point as well."""
    points = asyncio.run(crash_points())

    assert set(_SHORT) <= set(points)
    assert {point.split()[-1] for point in points} == _WRITES | _CALLS


@pytest.fixture(scope="module")
def outcomes() -> Mapping[str, Outcome]:
    """Die at all of them at once: most of it is waiting."""

    async def die() -> list[Outcome]:
        return await asyncio.gather(*(kill_at(point) for point in _SHORT))

    return dict(zip(_SHORT, asyncio.run(die()), strict=True))


@pytest.mark.parametrize("point", _SHORT)
def test_what_a_kill_leaves_is_swept_and_paid_once(point: str, outcomes: Mapping[str, Outcome]) -> None:
    """By the bill of the cloud that went on without it."""
    outcome = outcomes[point]

    assert outcome.complaints == []
    assert outcome.jobs == 3
