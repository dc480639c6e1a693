"""What `twohop cost` counts a call with is what hop 1 does, counted between it and Firestore's emulator."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import date
from typing import Any

import httpx
import msgspec
import pytest

from gate.domain.plan import Cohort
from gate.domain.request import InferRequest
from gate.errors import QuotaExceededError
from gate.ledgers.firestore import FirestoreLedger
from gate.ports import Caller, ProviderState
from tests.contract.watched import Watched
from tests.emulators import firestore_emulator, fresh_project
from tests.makers import make_documents, make_plan
from tests.unit.doubles import completed, fill, running
from tests.unit.world import ALICE, World
from twohop.cost.book import book_of
from twohop.cost.forecast import forecast
from twohop.cost.scenario import Design, Scenario
from twohop.cost.use import DELETES_OF_A_DENIAL, WRITES_OF_A_DENIAL, operations

pytestmark = pytest.mark.emulator

POLLS = 2


def counted(design: Design, *, seconds: float = POLLS * 2.0) -> dict[str, float]:
    """Return what the forecast counts for a call; one of four seconds is asked about twice."""
    scenario = Scenario(calls_per_month=1, compute_seconds=seconds, poll_seconds=2.0, design=design)
    return asdict(operations(scenario, 0.0))


@pytest.fixture
def seen() -> Counter[str]:
    return Counter()


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch, seen: Counter[str]) -> AsyncIterator[World]:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())

    def count(request: httpx.Request) -> None:
        name = request.url.path.rpartition(":")[2] if request.method == "POST" else "get"
        body = json.loads(request.content or b"{}")
        deletes = sum("delete" in write for write in body.get("writes", ()))
        seen["writes"] += len(body.get("writes", ())) - deletes
        seen["deletes"] += deletes
        seen["reads"] += 0 if name == "commit" else len(body.get("documents", ())) or 1

    ledger: Any = FirestoreLedger(fresh_project(), transport=Watched(count))
    await fill(ledger, make_documents())
    world = World(ledger)
    # Plans and configuration are in the instance's memory, as they nearly always are; the caller is not.
    await world.policies.for_caller(Caller(uid="bob", cohort=Cohort.VERIFIED))
    seen.clear()
    yield world
    await ledger.close()


async def test_a_held_call_does_what_the_forecast_counts(world: World, seen: Counter[str]) -> None:
    """Job, caller and budget, twice; the caller's own policy is read."""
    await world.infer()

    does = counted(Design.HOLD, seconds=0.5)
    assert (seen["writes"], seen["reads"]) == (does["writes"], does["reads"])


async def test_a_call_that_a_webhook_ends_does_what_the_forecast_counts(world: World, seen: Counter[str]) -> None:
    """The provider's id is noted and the webhook reads the job; the client's listener gets it twice."""
    world.script(running(state=ProviderState.QUEUED), completed())
    answer = await world.gate.jobs.submit(ALICE, InferRequest(inputs="a"))
    assert await world.gate.jobs.ended(answer.job.job_id)

    does = counted(Design.WEBHOOK)
    assert (seen["writes"], seen["reads"] + 2) == (does["writes"], does["reads"])


async def test_a_call_that_is_polled_for_does_what_the_forecast_counts(world: World, seen: Counter[str]) -> None:
    """Each poll reads the job; the provider's webhook ends it here too."""
    world.script(running(state=ProviderState.QUEUED), completed())
    answer = await world.gate.jobs.submit(ALICE, InferRequest(inputs="a"))
    for _ in range(POLLS):
        world.clock.advance(seconds=2)
        await world.gate.jobs.job(ALICE, answer.job.job_id)
    assert await world.gate.jobs.ended(answer.job.job_id)

    does = counted(Design.POLL)
    assert (seen["writes"], seen["reads"]) == (does["writes"], does["reads"])


async def test_a_call_that_a_limit_refuses_does_what_the_forecast_counts(world: World, seen: Counter[str]) -> None:
    """It is held, and put back."""
    plan = make_plan(requests_per_day=1)
    await world.ledger.write("plans/free", msgspec.json.decode(msgspec.json.encode(plan)))
    world.clock.advance(seconds=3_600)
    await world.infer()
    seen.clear()

    with pytest.raises(QuotaExceededError):
        await world.infer()

    assert (seen["writes"], seen["deletes"], seen["reads"]) == (WRITES_OF_A_DENIAL, DELETES_OF_A_DENIAL, 0)


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
    assert more["firestore_reads"] == more["gpu_useful"] == 0
