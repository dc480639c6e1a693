"""What `twohop cost` counts a call with is what hop 1 does, counted between it and Firestore's emulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pytest
from starlette.types import Message, Receive, Scope, Send

from gate.assembly import Hop1
from gate.bootstrap import make_hop1
from gate.domain.job import Settlement
from gate.domain.plan import Cohort
from gate.domain.request import InferRequest
from gate.errors import QuotaExceededError
from gate.guard.dead_man import DeadMansSwitch
from gate.ledgers.firestore import FirestoreLedger
from gate.ports import Admitted, Caller
from gate.provider import ProviderState
from gate.providers.scripted_control import ScriptedControl
from gate.settings import Settings
from gate.watchroom import make_watchroom
from tests.contract.billed import Billed
from tests.emulators import firestore_emulator, fresh_project
from tests.gate.doubles import WatchedLog, completed, fill, running
from tests.gate.world import ALICE, World
from tests.guard.test_watchdog import ENV
from tests.makers import NOON, FakeClock, make_documents, make_job, make_moves, make_plan
from twohop.cost.book import book_of
from twohop.cost.deployed import functions
from twohop.cost.fleet import Lived
from twohop.cost.forecast import forecast
from twohop.cost.month import month_of
from twohop.cost.operations import OF_A_DENIAL, SCHEDULED, Operations, reads_of_instances
from twohop.cost.scenario import Design, Scenario
from twohop.cost.use import operations

pytestmark = pytest.mark.emulator

POLLS = 2
OF_THE_RECONCILIATION = 1
"""A job is read once more, an hour later."""


def counted(design: Design, *, seconds: float = POLLS * 2.0) -> Operations:
    """Return what the forecast counts for a call; one of four seconds is asked about twice."""
    scenario = Scenario(calls_per_month=1, compute_seconds=seconds, poll_seconds=2.0, design=design)
    lived = Lived(
        calls=1,
        refused=0,
        starts=0,
        cold_calls=0,
        useful_seconds=seconds,
        start_seconds=0.0,
        idle_seconds=0.0,
        rounding_seconds=0.0,
        blocks=0,
        waits=np.zeros(1),
        ends=np.array([seconds]),
        arrivals=np.zeros(1),
    )
    return operations(scenario, month_of(scenario, lived))


@pytest.fixture
def billed(monkeypatch: pytest.MonkeyPatch) -> Billed:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())
    return Billed()


@pytest.fixture
async def world(billed: Billed) -> AsyncIterator[World]:
    ledger: Any = FirestoreLedger(fresh_project(), exchanges=billed)
    await fill(ledger, make_documents())
    world = World(ledger)
    # Plans and configuration are read for the instance, and counted with it; a caller's own document is not.
    await world.policies.for_caller(Caller(uid="bob", cohort=Cohort.VERIFIED))
    billed.seen.clear()
    yield world
    await ledger.close()


async def test_a_held_call_does_what_the_forecast_counts(world: World, billed: Billed) -> None:
    """Job, caller and budget, twice; the caller's own policy is read, and the job by RunPod's webhook."""
    answer = await world.infer()
    assert await world.gate.jobs.ended(answer.job.job_id)

    does = counted(Design.HOLD, seconds=0.5)
    assert (billed.seen["writes"], billed.seen["reads"] + OF_THE_RECONCILIATION) == (does.writes, does.reads)


async def test_a_call_that_a_webhook_ends_does_what_the_forecast_counts(world: World, billed: Billed) -> None:
    """The provider's id is noted and the webhook reads the job; the client's listener gets it twice."""
    world.script(running(state=ProviderState.QUEUED), completed())
    answer = await world.gate.jobs.submit(ALICE, InferRequest(inputs="a"))
    assert await world.gate.jobs.ended(answer.job.job_id)

    does = counted(Design.WEBHOOK)
    assert (billed.seen["writes"], billed.seen["reads"] + 2 + OF_THE_RECONCILIATION) == (does.writes, does.reads)


async def test_a_call_that_is_polled_for_does_what_the_forecast_counts(world: World, billed: Billed) -> None:
    """Each poll reads the job; the provider's webhook ends it here too."""
    world.script(running(state=ProviderState.QUEUED), completed())
    answer = await world.gate.jobs.submit(ALICE, InferRequest(inputs="a"))
    for _ in range(POLLS):
        world.clock.advance(seconds=2)
        await world.gate.jobs.job(ALICE, answer.job.job_id)
    assert await world.gate.jobs.ended(answer.job.job_id)

    does = counted(Design.POLL)
    assert (billed.seen["writes"], billed.seen["reads"] + OF_THE_RECONCILIATION) == (does.writes, does.reads)


async def test_a_call_that_a_limit_refuses_does_what_the_forecast_counts(world: World, billed: Billed) -> None:
    """It is held, and put back."""
    plan = make_plan(requests_per_day=1)
    await world.ledger.write("plans/free", msgspec.json.decode(msgspec.json.encode(plan)))
    world.clock.advance(seconds=3_600)
    await world.infer()
    world.clock.advance(seconds=11)
    await world.policies.for_caller(Caller(uid="bob", cohort=Cohort.VERIFIED))
    billed.seen.clear()

    with pytest.raises(QuotaExceededError):
        await world.infer()

    assert dict(billed.seen) == {
        "reads": OF_A_DENIAL.reads,
        "writes": OF_A_DENIAL.writes,
        "deletes": OF_A_DENIAL.deletes,
    }


async def test_an_instance_reads_for_itself_what_the_forecast_counts(world: World, billed: Billed) -> None:
    """The configuration and the plan when they are old, and now and then a sign of the watchdog's life."""
    switch = DeadMansSwitch(documents=world.ledger, open_alarm=_no_alarm, clock=world.clock, log=world.log)
    watched = switch.around(_says_nothing)
    arrivals = [0.0, 3.0, 9.9, 10.0, 12.0, 25.0, 700.0]
    world.clock.advance(hours=1)
    begun = world.clock.now()
    for number, at in enumerate(arrivals):
        world.clock.advance(seconds=(begun + timedelta(seconds=at) - world.clock.now()).total_seconds())
        await watched({}, _no_message, _sends_nothing)
        await world.policies.for_caller(Caller(uid=f"caller-{number}", cohort=Cohort.VERIFIED))

    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))  # the switch looks beside the call

    of_callers = len(arrivals)
    assert billed.seen["reads"] - of_callers == reads_of_instances(np.array(arrivals), instances=1)


async def _says_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass


async def _no_message() -> Message:
    return {}


async def _sends_nothing(message: Message) -> None:
    pass


def _no_alarm() -> Any:
    raise AssertionError("nobody has watched yet, so nothing is silent")


@pytest.fixture
def watched(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> Hop1:
    """Hop 1 with its schedules, on a counted Firestore, at a quarter past noon."""
    monkeypatch.setattr("gate.ledgers.firestore.FirestoreLedger", partial(FirestoreLedger, exchanges=billed))
    env = {**ENV, "LEDGER": "firestore", "GCLOUD_PROJECT": fresh_project()}
    return make_hop1(Settings.from_env(env), clock=FakeClock(NOON + timedelta(minutes=15)), log=WatchedLog())


@pytest.mark.parametrize(("plans", "shards", "jobs"), [(2, 1, 0), (2, 4, 7), (5, 1, 7)])
async def test_the_schedules_do_what_the_forecast_counts(
    watched: Hop1, billed: Billed, plans: int, shards: int, jobs: int
) -> None:
    """For any number of plans and shards; the jobs of an hour are read once, by the run that comes after it."""
    await _fill(watched, plans=plans, shards=shards)
    room = make_watchroom(watched, control=ScriptedControl())
    assert room.reconciler is not None

    async def sweep() -> None:
        await watched.sweeper.sweep()
        await room.watchdog.look()

    async def ladder() -> None:
        await room.ladder.run()
        await watched.sweeper.look_after()

    found = {}
    for name, run in {"sweep": sweep, "ladder": ladder, "reconcile": room.reconciler.reconcile}.items():
        await run()  # The first writes what is not there yet.
        await _hold_and_release(watched, jobs if name == "reconcile" else 0)
        _advance(watched, hours=1)
        billed.seen.clear()
        await run()
        found[name] = (billed.seen["reads"], billed.seen["writes"], billed.seen["deletes"])
    await watched.close()

    of_the_hour = {"reconcile": max(jobs, 1)}
    assert found == {
        name: (one.reads_a_run(plans=plans, shards=shards) + of_the_hour.get(name, 0), one.writes, 0)
        for name, one in SCHEDULED.items()
    }


async def _fill(hop1: Hop1, *, plans: int, shards: int) -> None:
    documents = make_documents()
    documents |= {f"plans/{number}": documents["plans/free"] for number in range(plans - 2)}
    documents |= {f"budget/{number}": {"in_flight": 0} for number in range(shards)}
    await fill(hop1.store, documents)


async def _hold_and_release(hop1: Hop1, jobs: int) -> None:
    for number in range(jobs):
        job = make_job(held_at=hop1.clock.now(), caller=f"caller-{number}")
        held = await hop1.store.hold(job, make_moves(job))
        assert isinstance(held, Admitted)
        await hop1.store.settle(held.job, Settlement.release("done"), at=hop1.clock.now())


def _advance(hop1: Hop1, **by: float) -> None:
    assert isinstance(hop1.clock, FakeClock)
    hop1.clock.advance(**by)


def test_the_schedules_are_those_of_main() -> None:
    """As often as `main.py` asks Google to run them."""
    minutes = {one.name: one.minutes_between for one in functions() if one.minutes_between}

    assert {name: 24 * 60 / every for name, every in minutes.items()} == {
        name: one.runs_per_day for name, one in SCHEDULED.items()
    }


def test_denied_calls_are_in_the_lines_of_the_bill() -> None:
    """Three of them for each call that runs."""
    book = book_of("runpod/AMPERE_16", on=date(2026, 11, 25))

    def quantities(denied: float) -> dict[str, float]:
        scenario = Scenario(calls_per_month=100_000, compute_seconds=1, denied_per_call=denied)
        return {line.key: float(line.quantity) for line in forecast(scenario, book).bill.lines}

    plain, flooded = quantities(0), quantities(3)

    calls = plain["firestore_ttl_deletes"]
    more = {key: amount - plain.get(key, 0) for key, amount in flooded.items()}
    assert more["requests"] == more["firestore_deletes"] == 3 * calls
    assert more["firestore_writes"] == 15 * calls
    assert more["vcpu_seconds"] == pytest.approx(3 * calls * 0.2)
    assert more["firestore_reads"] == pytest.approx(3 * calls)
    assert more["gpu_useful"] == 0
