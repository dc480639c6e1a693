"""Level 5 stops the fake cloud's bill within a stated number of seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from gate.domain.job import JobState
from gate.domain.request import InferRequest
from gate.errors import GateError
from gate.guard.kill_ladder import KillLadder
from gate.ledgers.sqlite import SqliteLedger
from gate.money import gpu_price
from gate.providers.runpod import RunPodProvider
from gate.providers.runpod_control import RunPodControl
from gate.service import Gate
from gate.steps.policy import Policies
from tests.makers import make_config, make_documents, make_model
from tests.providers.hosts import SECRET
from tests.unit.doubles import WatchedLog, fill
from tests.unit.world import ALICE, WEBHOOKS
from twohop.cloud.app import API_KEY, CONTROL_KEY, ENDPOINT_ID, make_cloud_app
from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.virtual import EPOCH, LoopClock, run_virtual
from twohop.cloud.worker import LoopTimers
from twohop.prove.still import StillLedger

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


async def use(gate: Gate, ask: Callable[[Gate], Awaitable[None]]) -> None:
    """Ask and ask again, whatever the answer is."""
    while True:
        with suppress(GateError):
            await ask(gate)
        await asyncio.sleep(1)


async def play(path: str) -> tuple[int, int, int]:
    """Return the bill as long after the kill as is stated, the bill an hour later, and the holds left."""
    clock, log = LoopClock(), WatchedLog()
    ledger: Any = StillLedger(lambda: SqliteLedger(path))
    prices = [(0.0, gpu_price("runpod/AMPERE_16", on=EPOCH.date()))]
    endpoint = Endpoint(workers_min=1, workers_max=4, jobs_per_worker=2)
    cloud = Cloud(timers=LoopTimers(), prices=prices, work=work, endpoint=endpoint)
    transport = httpx.ASGITransport(app=make_cloud_app(cloud, epoch=EPOCH))
    await fill(ledger, make_documents())
    gate = Gate(
        policies=Policies(documents=ledger, notifier=log, clock=clock, fresh_seconds=10),
        ledger=ledger,
        provider=RunPodProvider(
            endpoint_id=ENDPOINT_ID, api_key=API_KEY, worker_secret=SECRET, clock=clock, transport=transport
        ),
        model=make_model(),
        webhooks=WEBHOOKS,
        clock=clock,
        log=log,
    )
    control = RunPodControl(endpoint_id=ENDPOINT_ID, api_key=API_KEY, control_key=CONTROL_KEY, transport=transport)
    ladder = KillLadder(store=ledger, clock=clock, log=log, control=control, stop=gate.follower.stop)
    using = [asyncio.ensure_future(use(gate, ask)) for ask in (infer, submit, stream) for _ in range(4)]
    await asyncio.sleep(60)
    assert cloud.count()["running"] > 0
    held = [job for job in await ledger.jobs(limit=1000) if not job.state.final]
    assert {job.state for job in held} == {JobState.HELD, JobState.RUNNING}
    await fill(ledger, make_documents(config=make_config(kill_level=5)))
    await asyncio.sleep(60)
    await ladder.run()
    await asyncio.sleep(STOPPED_WITHIN_SECONDS - 60)
    then = cloud.spent_microdollars()
    for _ in range(60):
        await asyncio.sleep(60)
        await ladder.run()
    left = sum(not job.state.final for job in await ledger.jobs(limit=1000))
    for each in using:
        each.cancel()
    await asyncio.wait(using)
    later = cloud.spent_microdollars()
    await ledger.close()
    return then, later, left


def test_level_5_stops_the_bill_within_the_stated_seconds(tmp_path: Path) -> None:
    """While callers go on asking, streaming and submitting; and nothing is left held."""
    then, later, left = run_virtual(play(str(tmp_path / "ledger.sqlite3")))

    assert 0 < then == later
    assert left == 0
