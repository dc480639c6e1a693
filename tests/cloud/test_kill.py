"""Level 5 stops the fake cloud's bill within a stated number of seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gate.domain.job import JobState
from gate.domain.request import InferRequest
from gate.service import Gate
from tests.cloud.world import CloudWorld, again_and_again
from tests.gate.world import ALICE
from tests.makers import make_config, make_model
from twohop.cloud.cloud import Endpoint, Work
from twohop.cloud.virtual import run_virtual

STOPPED_WITHIN_SECONDS = 75
"""As docs/budgets-and-the-switch.md states it."""


def work(_: Mapping[str, Any]) -> Work:
    return Work(execution_ms=25_000, outputs=[1], parts=["a ", "part"])


async def infer(gate: Gate) -> None:
    await gate.infer(ALICE, InferRequest(inputs="a text"))


async def submit(gate: Gate) -> None:
    await gate.jobs.submit(ALICE, InferRequest(inputs="a text"))
    await asyncio.sleep(20)


async def stream(gate: Gate) -> None:
    async for _ in gate.stream(ALICE, InferRequest(inputs="a text")):
        pass


async def play(path: str) -> tuple[int, int, int]:
    """Return the bill as long after the kill as is stated, the bill an hour later, and the holds left."""
    endpoint = Endpoint(workers_min=1, workers_max=4, jobs_per_worker=2)
    world = CloudWorld(path, model=make_model(), work=work, endpoint=endpoint)
    await world.configure(make_config())
    for ask in (infer, submit, stream):
        for _ in range(4):
            world.start(again_and_again(partial(ask, world.gate), pause_seconds=1))
    cloud, ledger, ladder = world.cloud, world.ledger, world.ladder
    await asyncio.sleep(60)
    assert cloud.count()["running"] > 0
    held = [job for job in await ledger.jobs(limit=1000) if not job.state.final]
    assert {job.state for job in held} == {JobState.HELD, JobState.RUNNING}
    await world.configure(make_config(kill_level=5))
    await asyncio.sleep(60)
    await ladder.run()
    await asyncio.sleep(STOPPED_WITHIN_SECONDS - 60)
    then = cloud.spent_microdollars()
    for _ in range(60):
        await asyncio.sleep(60)
        await ladder.run()
    left = sum(not job.state.final for job in await ledger.jobs(limit=1000))
    later = cloud.spent_microdollars()
    await world.close()
    return then, later, left


def test_level_5_stops_the_bill_within_the_stated_seconds(tmp_path: Path) -> None:
    """While callers go on asking, streaming and submitting; and nothing is left held."""
    then, later, left = run_virtual(play(str(tmp_path / "ledger.sqlite3")))

    assert 0 < then == later
    assert left == 0
