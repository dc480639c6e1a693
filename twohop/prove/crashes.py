"""Kills hop 1 at each step between two writes, starts it again, and holds the ledger to the bill.

Hop 1 is a process of its own over a SQLite file or the Firestore emulator, and the cloud is served to it over
loopback, in real time: what a SIGKILL leaves is what the machine leaves.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import uvicorn

from gate import wire
from gate.domain.scopes import BUDGET
from twohop.cloud.app import make_cloud_app
from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.webhooks import Webhooks
from twohop.cloud.worker import LoopTimers
from twohop.loopback import free_port
from twohop.prove.audit import differences
from twohop.prove.case import NOTHING, Case
from twohop.prove.outcome import Outcome
from twohop.prove.scene import QUICK_MODEL, write_documents
from twohop.prove.stores import fresh_place, ledger_at
from twohop.prove.victim import LONG, Told

KILLED_CALLERS = 6
"""Who ask a process that is killed, all at once."""
_SHARDS = 2
_ENDPOINT = Endpoint(jobs_per_worker=2, pull_ms=10, start_ms=50, scale_ms=100, idle_ms=200)
_SHORT_MS, _LONG_MS = 50, 2_000
_BILL_LOOKS, _LOOK_SECONDS = 1_000, 0.02


class VictimError(Exception):
    """A process did not end as it was told to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Where hop 1 dies, with how many callers, and what goes wrong beside."""

    point: str
    callers: int = KILLED_CALLERS
    ledger: str = "sqlite"
    case: Case = NOTHING
    seed: int = 1

    @property
    def name(self) -> str:
        """As it is read in a table."""
        return f"killed {self.point}" + (f" + {self.case.name}" if self.case is not NOTHING else "")

    @property
    def budget(self) -> int:
        """What its callers have together: one and a half holds less than all of them need at once."""
        return (2 * self.callers - 3) * QUICK_MODEL.worst_case_microdollars // 2


async def crash_points(ledger: str, callers: int) -> list[str]:
    """Return every point at which hop 1 can die, by letting it live once."""
    async with _world(Kill(point="never", callers=callers, ledger=ledger)) as world:
        told = await _victim(world)
    made = msgspec.json.decode(told or b"{}", type=dict[str, int])
    steps = [f"{name} {number}" for name, times in made.items() for number in range(1, times + 1)]
    return [f"{when} {step}" for step in steps for when in ("before", "after")]


async def kill(kill: Kill) -> Outcome:
    """Kill hop 1 at one point, start it again with the same requests, sweep, and count.

    Of several callers nobody knows who makes a step first; so with fewer steps than there were once, it may live.

    Raises:
        VictimError: it ended in another way, or did not live afterwards.
    """
    async with _world(kill) as world:
        died = await _victim(world, dies=kill.point) is None
        await _victim(world, sweeps=True)
        await _wait_for_the_bill(world.cloud)
        return await _count(world, died=died)


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    kill: Kill
    cloud: Cloud
    place: str
    address: str
    port: int


@asynccontextmanager
async def _world(kill: Kill) -> AsyncIterator[_World]:
    with tempfile.TemporaryDirectory() as folder:
        place = fresh_place(kill.ledger, folder)
        store = ledger_at(kill.ledger, place)
        await write_documents(store, budget=kill.budget, shards=_SHARDS)
        await store.close()
        cloud = Cloud(
            timers=LoopTimers(),
            prices=[(0.0, QUICK_MODEL.tariff.gpu)],
            work=_work,
            endpoint=_ENDPOINT,
            faults=kill.case.cloud,
            seed=kill.seed,
        )
        async with _served(cloud) as address:
            yield _World(kill=kill, cloud=cloud, place=place, address=address, port=free_port())


@asynccontextmanager
async def _served(cloud: Cloud) -> AsyncIterator[str]:
    """Serve a cloud over loopback, let it post to webhooks, and yield its address."""
    port = free_port()
    app = make_cloud_app(cloud, epoch=datetime.now(UTC))
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_level="critical"))
    serving = asyncio.ensure_future(server._serve())
    async with httpx.AsyncClient() as client:

        async def post(url: str, fields: dict[str, Any]) -> bool:
            with suppress(httpx.HTTPError, RuntimeError):  # The latter once this world has ended.
                return (await client.post(url, json=fields)).is_success
            return False

        Webhooks(cloud, post)
        yield f"http://127.0.0.1:{port}/v2"
    server.should_exit = server.force_exit = True
    await serving


async def _victim(world: _World, *, dies: str | None = None, sweeps: bool = False) -> bytes | None:
    """Return what it wrote, or None if it died."""
    kill = world.kill
    told = Told(
        ledger=kill.ledger,
        place=world.place,
        cloud=world.address,
        port=world.port,
        callers=kill.callers,
        faults=kill.case.ledger,
        seed=kill.seed + sweeps,
        dies=dies,
        sweeps=sweeps,
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "twohop.prove.victim", msgspec.json.encode(told).decode()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    if dies and process.returncode == -signal.SIGKILL:
        return None
    if process.returncode:
        raise VictimError(f"told to die at {dies}, and ended with {process.returncode}: {error.decode()[-2000:]}")
    return out


async def _wait_for_the_bill(cloud: Cloud) -> None:
    """Wait until no worker is left whose time is still counted."""
    for _ in range(_BILL_LOOKS):
        if not cloud.workers:
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _count(world: _World, *, died: bool) -> Outcome:
    ledger = ledger_at(world.kill.ledger, world.place)
    jobs, spent = await ledger.jobs(), await _spent(ledger)
    wrong = await differences(ledger)
    await ledger.close()
    run = Counter(_order(job.input).job_id for job in world.cloud.jobs.values())
    settled = {job.job_id: job.settled_microdollars or 0 for job in jobs}
    # Firestore puts back what it denies, in a second commit. A hold that died between the two is swept as any other:
    # the ledger then has more than the budget, of a job that never ran.
    most = spent if world.kill.ledger == "sqlite" else sum(settled.get(job_id, 0) for job_id in run)
    return Outcome(
        case=world.kill.name if died else f"{world.kill.name} + (never came to it)",
        budget=world.kill.budget,
        billed=world.cloud.spent_microdollars(),
        ledger=spent,
        most=most,
        jobs=len(jobs),
        settled=sum(settled.values()),
        holds_left=sum(not job.state.final for job in jobs),
        differences=tuple(wrong),
        run_twice=sum(times > 1 for times in run.values()),
        run_unheld=len(run.keys() - settled),
        may_rest=True,
    )


async def _spent(ledger: Any) -> int:
    """Return what is counted, over the days: it may run at midnight."""
    counted = [await ledger.counters(account) for account in await ledger.accounts(BUDGET)]
    return sum(
        value
        for counters in counted
        for path, value in counters.items()
        if path[0] == "days" and path[2:] == ("microdollars",)
    )


def _work(job_input: Mapping[str, Any]) -> Work:
    inputs = wire.WorkBody.decode(_order(job_input).body).inputs
    return Work(execution_ms=_LONG_MS if inputs == LONG else _SHORT_MS, outputs=[1])


def _order(job_input: Mapping[str, Any]) -> wire.SignedRequest:
    return wire.SignedRequest.from_envelope(job_input)
