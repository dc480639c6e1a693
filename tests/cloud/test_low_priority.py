"""At level 2 no worker is started for a job: what it then waits for, and what it pays if it waits in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gate.domain.answer import Answer
from gate.domain.job import JobState
from gate.domain.request import InferRequest
from tests.cloud.world import CloudWorld
from tests.gate.world import ALICE
from tests.makers import make_config, make_model
from twohop.cloud.cloud import Work
from twohop.cloud.virtual import run_virtual

MODEL = make_model()
REQUEST = InferRequest(inputs="a text")
HOUR = 3_600


def work(_: Mapping[str, Any]) -> Work:
    return Work(execution_ms=2_000, outputs=[1])


async def submit(world: CloudWorld) -> None:
    await world.gate.jobs.submit(ALICE, REQUEST)
    await asyncio.sleep(1.1 * HOUR)


async def wait(world: CloudWorld) -> None:
    answer = await world.gate.infer(ALICE, REQUEST)
    assert answer.job.state is JobState.RUNNING
    await asyncio.sleep(1.1 * HOUR)


async def stream(world: CloudWorld) -> None:
    *_, answer = [step async for step in world.gate.stream(ALICE, REQUEST)]
    assert isinstance(answer, Answer)
    assert answer.job.state is JobState.RUNNING
    await asyncio.sleep(1.1 * HOUR)


async def cancel(world: CloudWorld) -> None:
    answer = await world.gate.jobs.submit(ALICE, REQUEST)
    await asyncio.sleep(300)
    await world.gate.jobs.cancel(ALICE, answer.job.job_id)


def play(path: str, ask: Callable[[CloudWorld], Awaitable[None]], *, level: int) -> tuple[int, int, Any]:
    """Return the bill, what the worker's part of the only job is, and the job, with no worker there or to come."""

    async def played() -> tuple[int, int, Any]:
        world = CloudWorld(path, model=MODEL, work=work)
        if level < 2:
            world.cloud.set_workers(workers_min=0, workers_max=0)
        await world.configure(make_config(kill_level=level))
        world.run_schedules()
        await ask(world)
        await asyncio.sleep(60)
        [job] = await world.ledger.jobs()
        billed = world.cloud.spent_microdollars()
        await world.close()
        paid = MODEL.tariff.gpu_microdollars(job.spent) if job.spent else job.settled_microdollars
        return billed, paid, job

    return run_virtual(played())


@pytest.mark.parametrize("ask", [submit, wait, stream, cancel])
def test_a_job_for_which_no_worker_is_started_pays_for_none(
    ask: Callable[[CloudWorld], Awaitable[None]], tmp_path: Path
) -> None:
    """It waited in a queue, which is free, and caused nothing."""
    billed, paid, job = play(str(tmp_path / "ledger"), ask, level=2)

    assert job.state.final
    assert (billed, paid) == (0, 0)


@pytest.mark.parametrize("ask", [submit, wait, stream, cancel])
def test_a_job_that_no_worker_took_pays_the_start_that_it_may_have_caused(
    ask: Callable[[CloudWorld], Awaitable[None]], tmp_path: Path
) -> None:
    """And not the execution that it never had: it is stopped before its provider forgets it."""
    _, paid, job = play(str(tmp_path / "ledger"), ask, level=0)

    assert job.state is JobState.SETTLED
    assert paid == MODEL.tariff.gpu.microdollars(60_000 + 5_000)
