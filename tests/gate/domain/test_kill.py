"""Who gets what at each kill level: each takes something more away, and none gives anything back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gate.domain import kill
from gate.domain.job import JobState
from gate.domain.kill import Access
from gate.domain.plan import Cohort
from gate.domain.request import InferRequest
from gate.errors import KilledError
from gate.provider import Part, ProviderState
from gate.providers.scripted import Act, ScriptedProvider
from gate.steps.policy import Policies
from gate.steps.stop_watch import StopWatch
from tests.gate.doubles import WatchedLedger, fill, running
from tests.gate.world import ALICE, ANONYMOUS, HELD, World
from tests.makers import make_config, make_documents

CANCELLED = running(state=ProviderState.CANCELLED)
ALL, ANSWERS, NOTHING = Access.ALL, Access.ANSWERS, Access.NOTHING


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    ledger = WatchedLedger(str(tmp_path / "ledger.sqlite3"))
    await fill(ledger, make_documents())
    yield World(ledger)
    await ledger.close()


async def set_level(world: World, level: int, **changes: Any) -> None:
    """Edit the configuration as in the console, and let the time pass in which it comes into force."""
    await fill(world.ledger, make_documents(config=make_config(kill_level=level, **changes)))
    world.clock.advance(seconds=10)


@pytest.mark.parametrize(
    ("cohorts", "plan", "expected"),
    [
        pytest.param([Cohort.VERIFIED], "pro", [ALL, ALL, ALL, ALL, ALL, NOTHING, NOTHING], id="pays-by-plan"),
        pytest.param(
            [Cohort.VERIFIED, Cohort.TOKEN], "free", [ALL, ALL, ALL, ALL, ALL, NOTHING, NOTHING], id="pays-by-cohort"
        ),
        pytest.param([Cohort.VERIFIED], "free", [ALL, ALL, ALL, ANSWERS, NOTHING, NOTHING, NOTHING], id="free"),
        pytest.param([Cohort.NEW], "free", [ALL, ALL, ALL, ANSWERS, NOTHING, NOTHING, NOTHING], id="new"),
        pytest.param([Cohort.ANONYMOUS], "pro", [ALL, ALL, ALL, ANSWERS, NOTHING, NOTHING, NOTHING], id="anonymous"),
    ],
)
def test_each_level_takes_something_more_away(cohorts: list[Cohort], plan: str, expected: list[Access]) -> None:
    """From those who do not pay first, and at 5 from everybody."""
    paying: dict[str, Any] = {"paying_plans": ("pro",), "paying_cohorts": (Cohort.TOKEN,)}

    got = [
        kill.access(make_config(kill_level=level, **paying), cohorts=cohorts, plan_name=plan) for level in range(7)
    ]

    assert got == expected


@pytest.mark.parametrize("level", [4, 5, 6])
async def test_a_refusal_says_that_it_was_switched_off_and_holds_nothing(world: World, level: int) -> None:
    """In words for people and in facts for programs."""
    await set_level(world, level)

    with pytest.raises(KilledError) as refused:
        await world.infer()

    assert refused.value.code == "unavailable"
    assert refused.value.details == {"limit": "kill_level", "kill_level": level, "retry_after_seconds": 60}
    assert world.ledger.holds == []


async def test_at_3_what_was_answered_is_answered_again_and_nothing_new_runs(world: World) -> None:
    """Repeating costs no GPU time."""
    first = await world.infer(idempotency_key="again")
    await set_level(world, 3)

    second = await world.infer(idempotency_key="again")
    for key in ("new", None):
        with pytest.raises(KilledError):
            await world.infer(idempotency_key=key)

    assert (second.repeated, second.outputs) == (True, first.outputs)
    assert len(world.provider.orders) == 1


@pytest.mark.parametrize("level", [3, 4])
async def test_who_pays_goes_on(world: World, level: int) -> None:
    """The owner names the plans that do; whoever is not signed in never does."""
    await set_level(world, level, paying_plans=("free", "anonymous"))

    assert (await world.infer()).job.state is JobState.SETTLED
    with pytest.raises(KilledError):
        await world.infer(credentials=ANONYMOUS)


@pytest.mark.parametrize(("level", "low"), [(1, False), (2, True), (3, True)])
async def test_from_2_on_no_worker_is_started_for_a_job(world: World, level: int, low: bool) -> None:
    """It waits for one that there is."""
    await set_level(world, level, paying_plans=("free",))

    await world.infer()

    assert [order.low_priority for order in world.provider.orders] == [low]


async def test_an_instance_obeys_once_its_copy_of_the_configuration_is_old(world: World) -> None:
    """The stated bound: POLICY_SECONDS, here ten."""
    await world.infer()
    await fill(world.ledger, make_documents(config=make_config(kill_level=5)))

    world.clock.advance(seconds=9.999)
    await world.infer()
    world.clock.advance(seconds=0.001)
    with pytest.raises(KilledError):
        await world.infer()


async def test_every_instance_obeys_within_the_bound_whenever_it_read_last(world: World) -> None:
    """Ten instances that read the configuration a second apart: after ten seconds none lets anybody in."""
    gates = []
    for _ in range(10):
        world.policies = Policies(documents=world.ledger, notifier=world.log, clock=world.clock, fresh_seconds=10)
        gates.append(world.another_gate())
        await gates[-1].infer(ALICE, InferRequest(inputs="a text"))
        world.clock.advance(seconds=0.9)
    await fill(world.ledger, make_documents(config=make_config(kill_level=5)))

    world.clock.advance(seconds=10)

    for gate in gates:
        with pytest.raises(KilledError):
            await gate.infer(ALICE, InferRequest(inputs="a text"))


async def test_a_call_in_flight_is_cancelled_at_5_and_pays_what_it_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider is told to stop it, and asked how it ended."""
    monkeypatch.setattr(
        world.gate, "_watch", StopWatch(policies=world.policies, ledger=world.ledger, fresh_seconds=0.1)
    )
    world.script(running())
    waiting = asyncio.create_task(world.infer())
    await world.provider.handed_over.wait()
    await asyncio.sleep(0)
    world.provider.steps = [CANCELLED]
    await set_level(world, 5)

    with pytest.raises(KilledError):
        await waiting

    job = await world.the_job()
    assert world.provider.cancelled == ["remote-1"]
    assert (job.caller, job.state, job.failure_code) == (ALICE.uid, JobState.SETTLED, "cancelled")
    assert 0 < (job.settled_microdollars or 0) < HELD
    assert await world.counter("in_flight") == 0


async def test_a_stream_in_flight_is_cancelled_at_5_too(world: World) -> None:
    """What it had told by then stays told, and is paid for."""
    runs = asyncio.Event()

    async def sleep(seconds: float) -> None:
        runs.set()
        await asyncio.sleep(seconds)

    provider = ScriptedProvider(acts=[Act(delay_seconds=60, parts=(Part(text="a"),), usage=None)], sleep=sleep)
    gate = world.another_gate(provider=provider)
    gate._watch = StopWatch(policies=world.policies, ledger=world.ledger, fresh_seconds=0.1)
    steps = gate.stream(ALICE, InferRequest(inputs="a text"))
    reading = asyncio.ensure_future(anext(steps))
    await runs.wait()
    await set_level(world, 5)

    with pytest.raises(KilledError):
        await reading

    job = await world.the_job()
    assert provider.cancelled == ["scripted-1"]
    assert (job.state, job.failure_code) == (JobState.SETTLED, "cancelled")
    assert 0 < (job.settled_microdollars or 0) < HELD
