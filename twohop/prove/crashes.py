"""Kills hop 1 at each step between two writes, starts it again, and holds the ledger to the bill.

Hop 1 is a process of its own over a SQLite file, and the cloud is served to it over loopback, in real time: what a
SIGKILL leaves is what the machine leaves.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvicorn

from gate import wire
from gate.domain.scopes import budget_account
from gate.ledgers.sqlite import SqliteLedger
from twohop.cloud.app import make_cloud_app
from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.webhooks import Webhooks
from twohop.cloud.worker import LoopTimers
from twohop.dev.worker_process import free_port
from twohop.prove.audit import differences
from twohop.prove.outcome import Outcome
from twohop.prove.scene import MODEL, write_documents
from twohop.prove.victim import LONG, Told

_SHARDS = 2
_BUDGET = 7 * MODEL.worst_case_microdollars // 2
"""Room for what was left behind, and for what is asked again."""
_ENDPOINT = Endpoint(pull_ms=10, start_ms=50, scale_ms=100, idle_ms=200)
_SHORT_MS, _LONG_MS = 50, 2_000
_BILL_LOOKS = 1_000


class VictimError(Exception):
    """A process did not end as it was told to."""


async def crash_points() -> list[str]:
    """Return every point at which hop 1 can die, by letting it live once."""
    with tempfile.TemporaryDirectory() as folder:
        async with _world(folder) as world:
            names = msgspec.json.decode(await _victim(world), type=list[str])
    steps = [f"{number} {name}" for number, name in enumerate(names, 1)]
    return [f"{when} {step}" for step in steps for when in ("before", "after")]


async def kill_at(point: str) -> Outcome:
    """Kill hop 1 at one point, start it again with the same requests, sweep, and count.

    Raises:
        VictimError: it did not die there, or did not live afterwards.
    """
    with tempfile.TemporaryDirectory() as folder:
        async with _world(folder) as world:
            await _victim(world, dies=point)
            await _victim(world, sweeps=True)
            await _wait_for_the_bill(world.cloud)
            return await _count(world, point)


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    cloud: Cloud
    path: str
    address: str
    port: int


@asynccontextmanager
async def _world(folder: str) -> AsyncIterator[_World]:
    path, port = str(Path(folder) / "ledger.sqlite3"), free_port()
    store = SqliteLedger(path)
    await write_documents(store, budget=_BUDGET, shards=_SHARDS)
    await store.close()
    cloud = Cloud(timers=LoopTimers(), prices=[(0.0, MODEL.tariff.gpu)], work=_work, endpoint=_ENDPOINT)
    app = make_cloud_app(cloud, epoch=datetime.now(UTC))
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_level="critical"))
    serving = asyncio.ensure_future(server._serve())
    async with httpx.AsyncClient() as client:

        async def post(url: str, fields: dict[str, Any]) -> bool:
            with suppress(httpx.HTTPError, RuntimeError):  # The latter once this world has ended.
                return (await client.post(url, json=fields)).is_success
            return False

        Webhooks(cloud, post)
        yield _World(cloud=cloud, path=path, address=f"http://127.0.0.1:{port}/v2", port=free_port())
    server.should_exit = server.force_exit = True
    await serving


async def _victim(world: _World, *, dies: str | None = None, sweeps: bool = False) -> bytes:
    told = Told(path=world.path, cloud=world.address, port=world.port, dies=dies, sweeps=sweeps)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "twohop.prove.victim", msgspec.json.encode(told).decode()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    if process.returncode != (-signal.SIGKILL if dies else 0):
        raise VictimError(f"told to die at {dies}, and ended with {process.returncode}: {error.decode()[-2000:]}")
    return out


async def _wait_for_the_bill(cloud: Cloud) -> None:
    """Wait until no worker is left whose time is still counted."""
    for _ in range(_BILL_LOOKS):
        if not cloud.workers:
            return
        await asyncio.sleep(0.02)


async def _count(world: _World, point: str) -> Outcome:
    ledger = SqliteLedger(world.path)
    jobs, wrong = await ledger.jobs(), await differences(ledger)
    spent = sum([await _spent(ledger, budget_account(shard)) for shard in range(_SHARDS)])
    await ledger.close()
    return Outcome(
        case=f"killed {point}",
        budget=_BUDGET,
        billed=world.cloud.spent_microdollars(),
        ledger=spent,
        most=spent,
        jobs=len(jobs),
        settled=sum(job.settled_microdollars or 0 for job in jobs),
        holds_left=sum(not job.state.final for job in jobs),
        differences=tuple(wrong),
        run=len(world.cloud.jobs),
    )


async def _spent(ledger: SqliteLedger, account: str) -> int:
    """Return what is counted, over the days: it may run at midnight."""
    counters = await ledger.counters(account)
    return sum(value for path, value in counters.items() if path[0] == "days" and path[2:] == ("microdollars",))


def _work(job_input: Mapping[str, Any]) -> Work:
    inputs = wire.WorkBody.decode(wire.SignedRequest.from_envelope(job_input).body).inputs
    return Work(execution_ms=_LONG_MS if inputs == LONG else _SHORT_MS, outputs=[1])
