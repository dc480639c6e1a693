"""One drive: many callers use up a day's budget while something goes wrong, and what is left is counted."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from gate.domain.plan import Cohort
from gate.domain.request import InferRequest
from gate.endpoints.webhook import WebhookDoor
from gate.errors import GateError, LedgerError, QuotaExceededError
from gate.guard.sweeper import Sweeper
from gate.log import EventLog
from gate.money import GpuPrice
from gate.over_httpx import OverHttpx
from gate.ports import Caller
from gate.providers.runpod import RunPodProvider
from gate.service import Gate
from gate.steps.policy import Policies
from gate.steps.webhooks import Webhooks
from twohop.cloud.app import API_KEY, ENDPOINT_ID, make_cloud_app
from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.faults import Dice
from twohop.cloud.virtual import EPOCH, LoopClock
from twohop.cloud.webhooks import Webhooks as CloudWebhooks
from twohop.cloud.worker import LoopTimers
from twohop.prove.audit import differences
from twohop.prove.case import Case
from twohop.prove.faults import TRAVEL_SECONDS_MAX, FaultyLedger, LedgerFaults
from twohop.prove.outcome import Outcome
from twohop.prove.scene import MODEL, SECRET, write_documents
from twohop.prove.stores import Store
from twohop.prove.witness import Request, Witness, asking

_HOLDS_IN_THE_BUDGET = 110
"""So that one hold is less than a hundredth of it."""
_SWEEP_SECONDS = 300
_WEBHOOKS = Webhooks(url="https://gate.example/webhook", secret=SECRET)
_PRICE_CHANGES_MS = 120_000.0
_BUDGET = _HOLDS_IN_THE_BUDGET * MODEL.worst_case_microdollars
_USING_SECONDS = 6 * 3_600
_LOOKING_AFTER_SECONDS = 6 * 3_600
"""The longest that jobs nobody waits for may take to be looked after, once nobody asks any more."""

Wrap = Callable[[Any], Any]


@dataclass(slots=True, kw_only=True)
class _Drive:
    case: Case
    seed: int
    callers: int
    shards: int
    store: Store
    wrap: Wrap
    refused_early: int = 0
    requests: list[Request] = field(default_factory=list)
    log: EventLog = field(default_factory=lambda: EventLog(io.StringIO()))

    async def run(self) -> Outcome:
        random.seed(self.seed)  # The gate's pauses, and the adapter's.
        clock = LoopClock()
        witness = Witness(
            self.store.ledger,
            budget=_BUDGET,
            shards=self.shards,
            is_wired=self.store.is_wired,
            overlap=self.store.overlap,
        )
        ledger = FaultyLedger(self.wrap(witness), self.case.ledger, Dice(self.seed), is_far=not self.store.overlap)
        await write_documents(self.store.ledger, budget=_BUDGET, shards=self.shards)
        cloud = self._cloud()
        policies = Policies(documents=witness, notifier=self.log, clock=clock, fresh_seconds=86_400)
        gate = self._gate(ledger, policies, cloud, clock)
        _tell_of_ends(cloud, gate, self.log)
        for number in range(self.callers):
            await gate.models(_caller(number))  # An instance reads a caller's document before their first request.
        sweeper = Sweeper(ledger=ledger, policies=policies, clock=clock, log=self.log, visit=gate.follower.visit)
        sweeping = asyncio.ensure_future(_sweep(sweeper))
        await asyncio.gather(*(self._use(gate, witness, number) for number in range(self.callers)))
        await _look_after(witness)
        sweeping.cancel()
        return await self._count(witness, cloud)

    async def _use(self, gate: Gate, witness: Witness, number: int) -> None:
        """Ask and ask again, until the day's budget is used up."""
        loop = asyncio.get_running_loop()
        while loop.time() < _USING_SECONDS:
            began, request = loop.time(), Request()
            try:
                with asking(request):
                    await _ask(gate, number)
            except QuotaExceededError as exc:
                self._judge_refusal(witness, began)
                retry_seconds = float(str(exc.details["retry_after_seconds"]))
                if retry_seconds > 600:
                    return
                await asyncio.sleep(max(retry_seconds, 5))
            except GateError:
                await asyncio.sleep(1)
            self.requests.append(request)

    def _judge_refusal(self, witness: Witness, began: float) -> None:
        """A refusal is right if, while it was made, or told and not heard yet, there was a moment without room."""
        least = witness.least_free(since=began - TRAVEL_SECONDS_MAX)
        self.refused_early += 100 * least > _BUDGET

    async def _count(self, witness: Witness, cloud: Cloud) -> Outcome:
        jobs = await witness.jobs(limit=10**6)
        hot = [one for one in self.requests if one.job and one.is_hot]
        return Outcome(
            case=self.case.name,
            budget=_BUDGET,
            billed=cloud.spent_microdollars(),
            ledger=await witness.spent(),
            most=witness.most_spent,
            jobs=len(jobs),
            settled=sum(job.settled_microdollars or 0 for job in jobs),
            holds_left=sum(not job.state.final for job in jobs),
            differences=tuple(await differences(self.store.ledger)),
            refused_early=self.refused_early,
            hold_commits=max((one.job.hold for one in hot if one.job), default=0),
            settle_commits=max((one.job.settle for one in hot if one.job), default=0),
            settled_again=sum(one.job.settle > 1 for one in hot if one.job),
            hot_reads=max((one.reads for one in hot), default=0),
            looks=max((one.job.looks for one in hot if one.job), default=0),
            is_repeated=self.case.ledger != LedgerFaults()
            or self.case.cloud.webhook_doubled > 0
            or self.store.overlap,
        )

    def _cloud(self) -> Cloud:
        durations = Dice(self.seed).of("durations")

        def work(_: Mapping[str, Any]) -> Work:
            return Work(execution_ms=durations.uniform(4_000, 9_000), outputs=[1])

        return Cloud(
            timers=LoopTimers(),
            prices=_prices(self.case.price_percent),
            work=work,
            endpoint=Endpoint(jobs_per_worker=2, workers_max=24, pull_ms=1_000, start_ms=4_000, scale_ms=6_000),
            faults=self.case.cloud,
            seed=self.seed,
        )

    def _gate(self, ledger: Any, policies: Policies, cloud: Cloud, clock: LoopClock) -> Gate:
        provider = RunPodProvider(
            endpoint_id=ENDPOINT_ID,
            api_key=API_KEY,
            worker_secret=SECRET,
            clock=clock,
            exchanges=OverHttpx(httpx.ASGITransport(app=make_cloud_app(cloud, epoch=EPOCH))),
        )
        ids = Dice(self.seed).of("ids")
        return Gate(
            policies=policies,
            ledger=ledger,
            provider=provider,
            model=MODEL,
            webhooks=_WEBHOOKS,
            clock=clock,
            log=self.log,
            random_hex=lambda size_bytes: ids.randbytes(size_bytes).hex(),
        )


async def drive(
    case: Case, *, seed: int, callers: int, store: Store, shards: int = 1, wrap: Wrap = lambda ledger: ledger
) -> Outcome:
    """Run one case on the running loop, which should be a virtual one. The same seed is the same outcome.

    Args:
        case: what goes wrong.
        seed: of everything that is drawn.
        callers: how many ask at once.
        store: an empty one, of whose ledger the loop waits.
        shards: of the budget.
        wrap: puts another ledger before the real one.
    """
    return await _Drive(case=case, seed=seed, callers=callers, shards=shards, store=store, wrap=wrap).run()


async def _ask(gate: Gate, number: int) -> None:
    """Ask in one of the two ways: wait for the answer, or do not wait."""
    request = InferRequest(inputs="a text")
    if number % 3 == 1:
        await gate.jobs.submit(_caller(number), request)
        with asking(None):
            await asyncio.sleep(5)
    else:
        await gate.infer(_caller(number), request)


def _caller(number: int) -> Caller:
    return Caller(uid=f"caller-{number}", cohort=Cohort.VERIFIED)


def _tell_of_ends(cloud: Cloud, gate: Gate, log: EventLog) -> None:
    """Have the cloud call hop 1's own door when a job has ended."""
    door = WebhookDoor(gate.jobs.ended, webhooks=_WEBHOOKS, log=log)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=door))

    async def post(url: str, fields: dict[str, Any]) -> bool:
        with asking(None):
            return (await client.post(url, json=fields)).is_success

    CloudWebhooks(cloud, post)


def _prices(percent: int) -> list[tuple[float, GpuPrice]]:
    """Return a price that rises to the one that hop 1 counts with."""
    full = MODEL.tariff.gpu
    other = msgspec.structs.replace(full, nanodollars_per_hour=full.nanodollars_per_hour * percent // 100)
    return [(0.0, other), (_PRICE_CHANGES_MS, full)]


async def _sweep(sweeper: Sweeper) -> None:
    """Do what the scheduler does."""
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        with suppress(LedgerError):
            await sweeper.sweep()


async def _look_after(witness: Witness) -> None:
    """Wait until all is settled, or should have been."""
    until = asyncio.get_running_loop().time() + _LOOKING_AFTER_SECONDS
    while asyncio.get_running_loop().time() < until:
        await asyncio.sleep(2 * _SWEEP_SECONDS)
        if all(job.state.final for job in await witness.jobs(limit=10**6)):
            return
