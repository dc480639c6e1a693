"""Callers are told what is left of their limits, and of nobody else's."""

from __future__ import annotations

import pytest

from gate.domain.meter import Remaining
from gate.errors import ForbiddenError, UnauthenticatedError
from gate.ports import Credentials
from tests.gate.doubles import fill
from tests.gate.world import World


async def test_asking_for_the_quota_counts_nothing(world: World) -> None:
    """It is read, not used."""
    before = await world.quota()

    assert await world.quota() == before
    assert world.ledger.holds == []
    assert all(isinstance(row, Remaining) for row in before)


@pytest.mark.parametrize("credentials", [Credentials(), Credentials(bearer="mallory")], ids=["nobody", "disabled"])
async def test_the_quota_of_who_is_refused_is_not_told(world: World, credentials: Credentials) -> None:
    """The same door, the same checks."""
    await fill(world.ledger, {"users/mallory": {"disabled": True}})

    with pytest.raises((UnauthenticatedError, ForbiddenError)):
        await world.quota(credentials)


async def test_the_budget_is_no_part_of_a_callers_quota(world: World) -> None:
    """It is the owner's business."""
    assert not any(row.name.is_budget for row in await world.quota())
