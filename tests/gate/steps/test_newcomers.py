"""Who is new is told by the commit of a hold: an ID token does not say it, and nothing is read for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from gate.domain.limits import LimitName
from gate.domain.plan import Budget, Cohort
from gate.domain.request import InferRequest
from gate.errors import ForbiddenError, QuotaExceededError
from gate.ports import Caller
from tests.gate.doubles import WatchedLedger, completed, fill
from tests.gate.world import ALICE, HELD, World
from tests.makers import make_config, make_documents, make_plan

PLANS = {Cohort.VERIFIED: "free", Cohort.NEW: "trial"}
CONFIG = make_config(plans=PLANS)
OLD_HOURS = 73


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    ledger = WatchedLedger(str(tmp_path / "ledger.sqlite3"))
    trial = msgspec.to_builtins(make_plan(requests_per_day=2))
    await fill(ledger, {**make_documents(config=CONFIG), "plans/trial": trial})
    yield World(ledger)
    await ledger.close()


async def ask(world: World, caller: Caller = ALICE) -> str:
    """Return the cohort that a call was counted for."""
    world.script(completed())
    return (await world.gate.infer(caller, InferRequest(inputs="a text"))).job.cohort


async def test_a_first_call_is_counted_as_a_newcomers(world: World) -> None:
    """Its first try counts for nobody: what stays in the ledger is the newcomer's alone."""
    assert await ask(world) == "new"

    day = ("days", "2026-11-21")
    assert await world.counter(*day, "requests") == 1
    assert await world.counter(*day, "cohort_microdollars", "verified", account="budget/0") == 0
    assert await world.counter(*day, "cohort_microdollars", "new", account="budget/0") > 0


async def test_a_newcomer_has_the_plan_of_newcomers_until_the_time_is_over(world: World) -> None:
    """Three days, unless `new_hours` says otherwise."""
    await ask(world)
    await ask(world)
    with pytest.raises(QuotaExceededError):
        await ask(world)

    world.clock.advance(hours=OLD_HOURS)

    assert [await ask(world) for _ in range(3)] == ["verified"] * 3


async def test_who_was_seen_long_ago_is_held_in_one_commit_by_any_instance(world: World) -> None:
    """So the way of nearly all calls is what it was: no read, one hold."""
    await ask(world)
    world.clock.advance(hours=OLD_HOURS)
    world.ledger.holds.clear()

    world.gate = world.another_gate()
    assert await ask(world) == "verified"
    assert len(world.ledger.holds) == 1


async def test_an_instance_holds_twice_for_a_newcomers_first_call_only(world: World) -> None:
    """It remembers them."""
    await ask(world)
    await ask(world)

    assert [job.cohort for job in world.ledger.holds] == ["verified", "new", "new"]


async def test_a_budget_for_newcomers_needs_no_plan_of_theirs(world: World) -> None:
    """They have the plan of everybody who signed in, and together spend no more than this."""
    budgets = {Cohort.NEW: Budget(microdollars_per_day=HELD)}
    config = make_config(plans={Cohort.VERIFIED: "free"}, cohort_budgets=budgets)
    await fill(world.ledger, make_documents(config=config))

    assert await ask(world) == "new"
    with pytest.raises(QuotaExceededError) as refused:
        await ask(world, replace(ALICE, uid="bob"))
    assert refused.value.details["limit"] == LimitName.COHORT_BUDGET_PER_DAY


async def test_where_nothing_is_said_of_newcomers_nobody_is_one(world: World) -> None:
    """And the time of their first job is kept all the same, for the day when something is."""
    await fill(world.ledger, make_documents())

    assert await ask(world) == "verified"
    assert await world.counter("first_seen_us") > 0
    assert len(world.ledger.holds) == 1


async def test_an_api_token_does_not_make_its_owner_old(world: World) -> None:
    """Else a newcomer would make a token first. The money is counted with tokens, the plan is a newcomer's."""
    token = replace(ALICE, token_id="t1")
    await world.ledger.create("tokens/t1", {"owner": "alice"})

    assert [await ask(world, token) for _ in range(2)] == ["token", "token"]
    with pytest.raises(QuotaExceededError):
        await ask(world, token)


async def test_racing_first_calls_of_a_newcomer_get_what_the_plan_allows(world: World) -> None:
    """On two instances, which both do not know them yet."""
    world.script(*[completed()] * 8)
    gates = [world.gate, world.another_gate()]

    calls = [gate.infer(ALICE, InferRequest(inputs="a text")) for gate in gates * 4]
    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert sum(not isinstance(answer, BaseException) for answer in answers) == 2
    assert {job.cohort for job in await world.ledger.jobs()} == {"new"}


async def test_the_quota_of_a_newcomer_is_told_before_their_first_call(world: World) -> None:
    """By a read, as every quota."""
    limits = {left.name: left.limit for left in await world.gate.quota(ALICE)}

    assert limits[LimitName.REQUESTS_PER_DAY] == 2


async def test_models_that_newcomers_may_not_use_are_refused(world: World) -> None:
    """What is checked before a hold is checked again once somebody is known to be new."""
    none = msgspec.to_builtins(make_plan(models=()))
    await fill(world.ledger, {"plans/trial": none})

    with pytest.raises(ForbiddenError):
        await ask(world)
    assert await world.gate.models(ALICE) == ()
