"""A process with hop 1 in it, which kills itself where it is told to.

    python -m twohop.prove.victim '{"ledger": "sqlite", "place": …, "cloud": …, "port": …, "callers": 6}'

Its callers ask all at once: a third for an answer, a third submits a job that its webhook settles, a third submits
one and cancels it. Started once more, it asks for the same again, as its callers would, and then sweeps as if hours
had passed.
"""

from __future__ import annotations

import asyncio
import io
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import uvicorn

from gate.connections import KeptConnections
from gate.domain.job import JobState
from gate.domain.plan import Cohort
from gate.domain.request import InferRequest
from gate.endpoints.webhook import WebhookDoor
from gate.errors import GateError, LedgerError
from gate.guard.sweeper import Sweeper
from gate.log import EventLog
from gate.ports import Caller
from gate.providers.runpod import RunPodProvider
from gate.service import Gate
from gate.steps.policy import Policies
from gate.steps.webhooks import Webhooks
from twohop.cloud.app import API_KEY, ENDPOINT_ID
from twohop.cloud.faults import Dice
from twohop.prove.faults import WRITES, FaultyLedger, LedgerFaults
from twohop.prove.scene import QUICK_MODEL, SECRET
from twohop.prove.steps import SteppingWire, Steps
from twohop.prove.stores import ledger_at

LONG = "a long text"
"""What takes so long that it can be cancelled."""
_CALLS = ("submit", "cancel")
"""What changes something at the provider."""
_HOURS = timedelta(hours=3)
_LOOK_SECONDS = 0.02
_PATIENCE = 150
_CANCEL_SECONDS = 2.5
_SLOW_SECONDS = 0.3
_SWEEPS_MAX = 20


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a victim is told."""

    ledger: str
    """`sqlite` or `firestore`."""
    place: str
    """The ledger's file, or its project."""
    cloud: str
    """The address of the cloud's job API."""
    port: int
    """Where it listens for webhooks."""
    callers: int
    faults: LedgerFaults = LedgerFaults()
    seed: int = 0
    dies: str | None = None
    """The point at which it dies; see `Steps`."""
    sweeps: bool = False


class _Clock:
    ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


async def _live(told: Told) -> dict[str, int]:
    """Do all of it, and return how often each step was made."""
    steps, clock, log = Steps(told.dies), _Clock(), EventLog(io.StringIO())
    store = _store(told, steps)
    ledger = FaultyLedger(
        steps.around(store, WRITES if told.ledger == "sqlite" else ()),
        told.faults,
        Dice(told.seed),
        slow_seconds=_SLOW_SECONDS,
    )
    policies = Policies(documents=store, notifier=log, clock=clock, fresh_seconds=60)
    provider = RunPodProvider(
        endpoint_id=ENDPOINT_ID, api_key=API_KEY, worker_secret=SECRET, clock=clock, base_url=told.cloud
    )
    webhooks = Webhooks(url=f"http://127.0.0.1:{told.port}/", secret=SECRET)
    gate = Gate(
        policies=policies,
        ledger=ledger,
        provider=steps.around(provider, _CALLS),
        model=QUICK_MODEL,
        webhooks=webhooks,
        clock=clock,
        log=log,
    )
    listening = await _listen(WebhookDoor(gate.jobs.ended, webhooks=webhooks, log=log), told.port)
    await asyncio.gather(*(_ask(gate, number) for number in range(told.callers)))
    await _all_told(store)
    if told.sweeps:
        clock.ahead = _HOURS
        sweeper = Sweeper(ledger=ledger, policies=policies, clock=clock, log=log, visit=gate.follower.visit)
        await _sweep(sweeper, store)
    listening.cancel()
    await store.close()
    return dict(steps.made)


def _store(told: Told, steps: Steps) -> Any:
    """Open the ledger. Firestore's is stepped at each of its commits."""
    if told.ledger == "sqlite":
        return ledger_at(told.ledger, told.place)
    connections = KeptConnections(connections_max=told.callers, kept_seconds=5)
    return ledger_at(told.ledger, told.place, exchanges=SteppingWire(connections, steps))


async def _listen(door: WebhookDoor, port: int) -> asyncio.Task[None]:
    server = uvicorn.Server(uvicorn.Config(door, port=port, lifespan="off", log_level="critical"))
    sockets = [server.config.bind_socket()]  # From here on it can be called.
    return asyncio.ensure_future(server.serve(sockets))


async def _ask(gate: Gate, number: int) -> None:
    """Ask as one caller does, the same each time."""
    caller = Caller(uid=f"caller-{number}", cohort=Cohort.VERIFIED)
    with suppress(GateError, TimeoutError):
        match number % 3:
            case 0:
                await gate.infer(caller, InferRequest(inputs="a text", idempotency_key="answered"))
            case 1:
                await gate.jobs.submit(caller, InferRequest(inputs="a text", idempotency_key="submitted"))
            case _:
                long = await gate.jobs.submit(caller, InferRequest(inputs=LONG, idempotency_key="given up"))
                async with asyncio.timeout(_CANCEL_SECONDS):  # It waits for a call that may be dead.
                    await gate.jobs.cancel(caller, long.job.job_id)


async def _all_told(store: Any) -> None:
    """Wait until webhooks have come. One that is lost does not."""
    for _ in range(_PATIENCE):
        if not any(job.state is JobState.RUNNING for job in await store.jobs()):
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _sweep(sweeper: Sweeper, store: Any) -> None:
    """Sweep again while the ledger or the cloud come in its way, as a schedule would."""
    for _ in range(_SWEEPS_MAX):
        with suppress(LedgerError):
            await sweeper.sweep()
        if all(job.state.final for job in await store.jobs()):
            return


if __name__ == "__main__":
    made = asyncio.run(_live(msgspec.json.decode(sys.argv[1], type=Told)))
    sys.stdout.write(msgspec.json.encode(made).decode())
