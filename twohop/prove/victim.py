"""A process with hop 1 in it, which kills itself where it is told to.

    python -m twohop.prove.victim '{"path": …, "cloud": …, "port": …}'

It asks for an answer, submits a job that its webhook settles, and submits one that it cancels. Started once more, it
asks for the same again, as its callers would, and then sweeps as if hours had passed.
"""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import uvicorn

from gate.domain.plan import Cohort
from gate.domain.request import InferRequest
from gate.endpoints.webhook import WebhookDoor
from gate.errors import GateError
from gate.guard.sweeper import Sweeper
from gate.ledgers.sqlite import SqliteLedger
from gate.log import EventLog
from gate.ports import Caller
from gate.providers.runpod import RunPodProvider
from gate.service import Gate
from gate.steps.policy import Policies
from gate.steps.webhooks import Webhooks
from twohop.cloud.app import API_KEY, ENDPOINT_ID
from twohop.prove.scene import MODEL, SECRET

LONG = "a long text"
"""What takes so long that it can be cancelled."""
_WRITES = ("hold", "settle", "hand_over", "rebalance")
_CALLS = ("submit", "status", "cancel")
_HOURS = timedelta(hours=3)
_PATIENCE = 100
_CANCEL_SECONDS = 5.0
_MODEL = replace(MODEL, wait_ms_max=2_000)
_CALLER = Caller(uid="caller", cohort=Cohort.VERIFIED)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a victim is told."""

    path: str
    """Of the ledger's file."""
    cloud: str
    """The address of the cloud's job API."""
    port: int
    """Where it listens for webhooks."""
    dies: str | None = None
    """The point at which it dies: `before` or `after`, the number of the step, and its name."""
    sweeps: bool = False


class _Clock:
    ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class _Steps:
    """Counts what is written and called, and dies at a point."""

    def __init__(self, dies: str | None) -> None:
        self.names: list[str] = []
        self._dies = dies

    def around(self, inner: Any, names: tuple[str, ...]) -> Any:
        """Return an adapter whose methods of these names are steps."""
        return _Stepping(inner, names, self)

    def begin(self, name: str) -> str:
        self.names.append(name)
        step = f"{len(self.names)} {name}"
        self.pass_by(f"before {step}")
        return step

    def pass_by(self, point: str) -> None:
        if point == self._dies:
            os.kill(os.getpid(), signal.SIGKILL)


class _Stepping:
    def __init__(self, inner: Any, names: tuple[str, ...], steps: _Steps) -> None:
        self._inner = inner
        self._names = names
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._step(name, found) if name in self._names else found

    def _step(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **options: Any) -> Any:
            step = self._steps.begin(name)
            done = await method(*args, **options)
            self._steps.pass_by(f"after {step}")
            return done

        return call


class _Ears:
    """What the door calls. Deaf, it comes in the way of no cancelling: the steps are then always the same."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.deaf = False

    async def ended(self, job_id: str) -> bool:
        return not self.deaf and await self._gate.jobs.ended(job_id)


async def _live(told: Told) -> list[str]:
    """Do all of it, and return the steps."""
    steps, store, clock, log = _Steps(told.dies), SqliteLedger(told.path), _Clock(), EventLog(io.StringIO())
    policies = Policies(documents=store, notifier=log, clock=clock, fresh_seconds=60)
    provider = RunPodProvider(
        endpoint_id=ENDPOINT_ID, api_key=API_KEY, worker_secret=SECRET, clock=clock, base_url=told.cloud
    )
    webhooks = Webhooks(url=f"http://127.0.0.1:{told.port}/", secret=SECRET)
    gate = Gate(
        policies=policies,
        ledger=steps.around(store, _WRITES),
        provider=steps.around(provider, _CALLS),
        model=_MODEL,
        webhooks=webhooks,
        clock=clock,
        log=log,
    )
    ears = _Ears(gate)
    listening = await _listen(WebhookDoor(ears.ended, webhooks=webhooks, log=log), told.port)
    await _ask(gate, store, ears)
    if told.sweeps:
        clock.ahead = _HOURS
        sweeper = Sweeper(ledger=store, policies=policies, clock=clock, log=log, visit=gate.follower.visit)
        await sweeper.sweep()
    listening.cancel()
    await store.close()
    return steps.names


async def _listen(door: WebhookDoor, port: int) -> asyncio.Task[None]:
    server = uvicorn.Server(uvicorn.Config(door, port=port, lifespan="off", log_level="critical"))
    sockets = [server.config.bind_socket()]  # From here on it can be called.
    return asyncio.ensure_future(server.serve(sockets))


async def _ask(gate: Gate, store: SqliteLedger, ears: _Ears) -> None:
    with suppress(GateError):
        await gate.infer(_CALLER, InferRequest(inputs="a text", idempotency_key="answered"))
    with suppress(GateError):
        await gate.jobs.submit(_CALLER, InferRequest(inputs="a text", idempotency_key="submitted"))
    await _all_told(store)
    ears.deaf = True
    with suppress(GateError, TimeoutError):
        long = await gate.jobs.submit(_CALLER, InferRequest(inputs=LONG, idempotency_key="given up"))
        async with asyncio.timeout(_CANCEL_SECONDS):  # It waits for a call that may hold the job, and may be dead.
            await gate.jobs.cancel(_CALLER, long.job.job_id)


async def _all_told(store: SqliteLedger) -> None:
    """Wait until webhooks have come."""
    for _ in range(_PATIENCE):
        if all(job.state.final for job in await store.jobs()):
            return
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    done = asyncio.run(_live(msgspec.json.decode(sys.argv[1], type=Told)))
    sys.stdout.write(msgspec.json.encode(done).decode())
