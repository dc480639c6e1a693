"""Hop 1 is killed while it serves several callers, and started again: nothing is run twice, or paid twice."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from tests.emulators import firestore_emulator
from twohop.prove.cases import SINGLE
from twohop.prove.crashes import KILLED_CALLERS, Kill, crash_points, kill
from twohop.prove.kills import kills
from twohop.prove.outcome import Outcome

_WRITES = {"hold", "rebalance", "hand_over", "settle"}
_CALLS = {"submit", "cancel"}
_FAULTS = {case.name: case for case in SINGLE}
_SHORT = [
    Kill(point="after hold 2"),
    Kill(point="after submit 2"),
    Kill(point="before settle 2"),
    Kill(point="after rebalance 1"),
    Kill(point="after hand_over 1", case=_FAULTS["ledger answers lost"]),
    Kill(point="before cancel 1", case=_FAULTS["webhooks lost"]),
]
_ON_FIRESTORE = [
    Kill(point="after commit 3", ledger="firestore"),
    Kill(point="after commit 12", ledger="firestore", case=_FAULTS["usage missing"]),
    Kill(point="after submit 1", ledger="firestore", case=_FAULTS["ledger aborts"]),
]
"""One of each kind of thing that may be left behind; `twohop prove` has them all."""


def test_hop_1_can_die_at_every_write_and_at_every_call() -> None:
    """If a step is added, it is a point as well."""
    points = asyncio.run(crash_points("sqlite", KILLED_CALLERS))

    assert {one.point for one in _SHORT} <= set(points)
    assert {point.split()[1] for point in points} == _WRITES | _CALLS


def test_every_fault_goes_beside_a_kill_and_in_pairs_beside_each_kind_of_step() -> None:
    """A fault that is added is tried with kills as well."""
    points = [f"{when} {name} {n}" for name in ("hold", "settle") for n in (1, 2, 3) for when in ("before", "after")]

    once, often = (kills(points, ledger="sqlite", seed=1, pairs=pairs) for pairs in (False, True))

    assert {one.case.name for one in once} == {one.case.name for one in often}
    assert len(once) == len(points) + len(_FAULTS) - 1
    assert len(often) == len(points) + 4 * (len(_FAULTS) - 1)


@pytest.fixture(scope="module")
def outcomes() -> Mapping[Kill, Outcome]:
    """Die at all of them at once: most of it is waiting."""
    return _all_of(_SHORT)


@pytest.fixture(scope="module")
def outcomes_on_firestore() -> Mapping[Kill, Outcome]:
    """As above, with the commits that Google's ledger takes as the steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())
        return _all_of(_ON_FIRESTORE)


def _all_of(wanted: Sequence[Kill]) -> Mapping[Kill, Outcome]:
    async def die() -> list[Outcome]:
        return await asyncio.gather(*(kill(one) for one in wanted))

    return dict(zip(wanted, asyncio.run(die()), strict=True))


@pytest.mark.parametrize("wanted", _SHORT, ids=lambda one: one.name)
def test_what_a_kill_leaves_is_swept_and_paid_once(wanted: Kill, outcomes: Mapping[Kill, Outcome]) -> None:
    """By the bill of the cloud that went on without it."""
    outcome = outcomes[wanted]

    assert outcome.complaints == []
    assert outcome.case == wanted.name  # It did die there.
    assert outcome.jobs > 0


@pytest.mark.parametrize("wanted", _ON_FIRESTORE, ids=lambda one: one.name)
def test_it_is_so_between_two_commits_to_firestore(
    wanted: Kill, outcomes_on_firestore: Mapping[Kill, Outcome]
) -> None:
    """One call of its ledger may take two."""
    outcome = outcomes_on_firestore[wanted]

    assert outcome.complaints == []
    assert outcome.case == wanted.name
    assert outcome.jobs > 0
