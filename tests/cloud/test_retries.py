"""A provider that tries a job for ever, and webhooks that never come: what ends it, and what it costs until then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gate.domain.job import JobState
from gate.domain.meter import IN_FLIGHT
from gate.domain.request import InferRequest
from gate.errors import JobFailedError
from tests.cloud.world import CloudWorld
from tests.gate.world import ALICE
from tests.makers import make_config, make_model
from twohop.cloud.cloud import Endpoint, Work
from twohop.cloud.faults import CloudFaults
from twohop.cloud.virtual import run_virtual

MODEL = make_model()
LONGEST_RUN_SECONDS = MODEL.worst_case_gpu_ms // 1000
SECOND = 160
"""Micro-dollars of runpod/AMPERE_16."""
BEYOND_SECONDS = 6 * 60
"""How long a job may be tried beyond what its hold covers, as docs/budgets-and-the-switch.md states it."""
FREE_AGAIN_SECONDS = LONGEST_RUN_SECONDS + 60
"""How long a job whose end nobody told counts as in flight, as docs/jobs-and-streams.md states it."""


def work(_: Mapping[str, Any]) -> Work:
    return Work(execution_ms=2_000, outputs=[1])


async def submit(world: CloudWorld) -> None:
    await world.gate.jobs.submit(ALICE, InferRequest(inputs="a text"))


async def submit_to_a_long_queue(world: CloudWorld) -> None:
    """No worker for half an hour: then looks are rare."""
    world.cloud.set_workers(workers_min=0, workers_max=0)
    await submit(world)
    await asyncio.sleep(1_800)
    world.cloud.set_workers(workers_min=0, workers_max=1)


async def wait_for_a_while(world: CloudWorld) -> None:
    """A call that has waited in vain looks once more, and says what became of its job."""
    with pytest.raises(JobFailedError):
        await world.gate.infer(ALICE, InferRequest(inputs="a text"))


@pytest.mark.parametrize("ask", [submit, submit_to_a_long_queue, wait_for_a_while])
def test_a_job_that_is_tried_for_ever_is_stopped(
    ask: Callable[[CloudWorld], Awaitable[None]], tmp_path: Path
) -> None:
    """It pays its hold, and the provider bills no more than the stated time beyond it. Left alone, it is an hour."""

    async def play() -> None:
        endpoint = Endpoint(pull_ms=0, retries_max=10**9, workers_max=1)
        faults = CloudFaults(looping=1)
        world = CloudWorld(str(tmp_path / "ledger"), model=MODEL, work=work, endpoint=endpoint, faults=faults)
        await world.configure(make_config())
        world.run_schedules()
        await ask(world)
        await asyncio.sleep(2 * 3_600)
        [job] = await world.ledger.jobs()
        billed, retried = world.cloud.spent_microdollars(), world.cloud.retried
        await world.close()

        assert retried > 5
        assert job.state is JobState.SETTLED
        assert job.settled_microdollars == job.held_microdollars
        assert "did not get to an end" in job.failure
        assert billed <= (LONGEST_RUN_SECONDS + BEYOND_SECONDS) * SECOND
        assert world.log.lines("job.beyond_hold")

    run_virtual(play())


def test_a_lost_webhook_frees_its_callers_slot_in_the_stated_time(tmp_path: Path) -> None:
    """A start and an execution, and the minute of the schedule."""

    async def play() -> None:
        world = CloudWorld(str(tmp_path / "ledger"), model=MODEL, work=work, faults=CloudFaults(webhook_lost=1))
        await world.configure(make_config())
        world.run_schedules()
        await asyncio.sleep(7)
        await submit(world)
        await asyncio.sleep(FREE_AGAIN_SECONDS)
        [job] = await world.ledger.jobs()
        counters = await world.ledger.counters("usage/alice")
        await world.close()

        assert (job.state, counters[IN_FLIGHT]) == (JobState.SETTLED, 0)
        assert job.result == "[1]"

    run_virtual(play())
