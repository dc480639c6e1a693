"""One drive: many callers use up a day's budget while something goes wrong, and what is left is counted."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from gate.domain.model import ServedModel
from gate.domain.plan import STARTER_PLANS, Cohort
from gate.domain.request import InferRequest
from gate.errors import LedgerError, ProviderError, QuotaExceededError
from gate.guard.sweeper import Sweeper
from gate.ledgers.sqlite import SqliteLedger
from gate.log import EventLog
from gate.money import Tariff, gate_price, gpu_price
from gate.ports import Caller
from gate.providers.runpod import RunPodProvider
from gate.service import Gate
from gate.steps.policy import Policies
from gate.steps.webhooks import Webhooks
from twohop.cloud.app import API_KEY, ENDPOINT_ID, make_cloud_app
from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.faults import CloudFaults, Dice
from twohop.cloud.virtual import EPOCH, LoopClock
from twohop.cloud.worker import LoopTimers
from twohop.prove.faults import FaultyLedger, LedgerFaults

_HOLDS_IN_THE_BUDGET = 110
"""So that one hold is less than a hundredth of it."""
_SWEEP_SECONDS = 300
_SECRET = b"a-secret-of-the-proof-and-nothing-else"
_PLAN = msgspec.structs.replace(
    STARTER_PLANS["free"],
    requests_per_minute=600_000,
    burst=100_000,
    requests_per_day=10**6,
    requests_per_month=10**6,
    concurrency=10**6,
    gpu_seconds_per_day=10**6,
    microdollars_per_day=10**12,
    microdollars_per_month=10**12,
    microdollars_per_hour=None,
)
"""In nobody's way: what limits here is the budget alone."""
_MODEL = ServedModel(
    name="model",
    tariff=Tariff(
        gpu=gpu_price("runpod/HOPPER_141", on=EPOCH.date()),
        gate=gate_price(on=EPOCH.date()),
        start_ms_max=15_000,
        idle_ms=5_000,
    ),
    execution_ms_max=10_000,
    wait_ms_max=60_000,
)

Wrap = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What goes wrong."""

    name: str
    ledger: LedgerFaults = field(default_factory=LedgerFaults)
    cloud: CloudFaults = field(default_factory=CloudFaults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one drive left, in micro-dollars and jobs."""

    case: str
    budget: int
    billed: int
    """The most that was ever spent, by the cloud's own bill."""
    ledger: int
    """What the budget's document says was spent."""
    jobs: int
    settled: int
    """What the jobs' own documents add up to: another sum than the budget's is a job that was billed twice."""
    holds_left: int
    refused_early: int
    """Refusals for the budget's sake while more than a hundredth of it was free."""

    @property
    def complaints(self) -> list[str]:
        """Return what does not hold; empty if all does."""
        found = {
            "spent above the budget": max(self.billed, self.ledger) > self.budget,
            "the bill is above the ledger": self.billed > self.ledger,
            "a job was billed twice": self.settled != self.ledger,
            "a hold was left behind": self.holds_left > 0,
            "an honest caller was refused": self.refused_early > 0,
            "nothing was spent": self.billed == 0,
        }
        return [complaint for complaint, holds in found.items() if holds]


@dataclass(slots=True, kw_only=True)
class _Drive:
    case: Case
    seed: int
    callers: int
    path: str
    wrap: Wrap
    budget: int = _HOLDS_IN_THE_BUDGET * _MODEL.worst_case_microdollars
    refused_early: int = 0
    log: EventLog = field(default_factory=lambda: EventLog(io.StringIO()))

    async def run(self) -> Outcome:
        clock, store = LoopClock(), SqliteLedger(self.path)
        ledger = FaultyLedger(self.wrap(store), self.case.ledger, Dice(self.seed))
        calm = FaultyLedger(store, LedgerFaults(), Dice(self.seed))
        await self._write_documents(calm)
        cloud = self._cloud()
        policies = Policies(documents=calm, notifier=self.log, clock=clock, fresh_seconds=3_600)
        gate = Gate(
            policies=policies,
            ledger=ledger,
            provider=self._provider(cloud, clock),
            model=_MODEL,
            webhooks=Webhooks(url="https://gate.example/webhook", secret=_SECRET),
            clock=clock,
            log=self.log,
        )
        sweeper = Sweeper(ledger=calm, policies=policies, clock=clock, log=self.log)
        sweeping = asyncio.ensure_future(_sweep(sweeper))
        await asyncio.gather(*(self._use(gate, calm, number) for number in range(self.callers)))
        await asyncio.sleep(2 * _SWEEP_SECONDS)
        sweeping.cancel()
        outcome = await self._count(calm, cloud)
        await store.close()
        return outcome

    async def _use(self, gate: Gate, ledger: Any, number: int) -> None:
        """Ask and ask again, until the day's budget is used up."""
        caller = Caller(uid=f"caller-{number}", cohort=Cohort.VERIFIED)
        while asyncio.get_running_loop().time() < 6 * 3_600:
            try:
                await gate.infer(caller, InferRequest(inputs="a text"))
            except QuotaExceededError as exc:
                await self._note_refusal(ledger)
                retry_seconds = float(str(exc.details["retry_after_seconds"]))
                if retry_seconds > 600:
                    return
                await asyncio.sleep(max(retry_seconds, 5))
            except (LedgerError, ProviderError):
                await asyncio.sleep(1)

    async def _note_refusal(self, ledger: Any) -> None:
        self.refused_early += self.budget - await _spent(ledger) > self.budget // 100 + 1

    async def _count(self, ledger: Any, cloud: Cloud) -> Outcome:
        jobs = await ledger.jobs(limit=10**6)
        return Outcome(
            case=self.case.name,
            budget=self.budget,
            billed=cloud.spent_microdollars(),
            ledger=await _spent(ledger),
            jobs=len(jobs),
            settled=sum(job.settled_microdollars or 0 for job in jobs),
            holds_left=sum(not job.state.final for job in jobs),
            refused_early=self.refused_early,
        )

    def _cloud(self) -> Cloud:
        durations = Dice(self.seed).of("durations")

        def work(_: Mapping[str, Any]) -> Work:
            return Work(execution_ms=durations.uniform(4_000, 9_000), outputs=[1])

        prices = [(0.0, _MODEL.tariff.gpu)]
        endpoint = Endpoint(jobs_per_worker=2, workers_max=24, pull_ms=1_000, start_ms=4_000, scale_ms=6_000)
        return Cloud(
            timers=LoopTimers(),
            prices=prices,
            work=work,
            endpoint=endpoint,
            faults=self.case.cloud,
            seed=self.seed,
        )

    def _provider(self, cloud: Cloud, clock: LoopClock) -> RunPodProvider:
        app = make_cloud_app(cloud, epoch=EPOCH)
        return RunPodProvider(
            endpoint_id=ENDPOINT_ID,
            api_key=API_KEY,
            worker_secret=_SECRET,
            clock=clock,
            transport=httpx.ASGITransport(app=app),
        )

    async def _write_documents(self, store: Any) -> None:
        await store.write("plans/free", msgspec.to_builtins(_PLAN))
        config = {
            "budget_microdollars_per_day": self.budget,
            "budget_microdollars_per_month": self.budget,
            "budget_shards": 1,
            "plans": {"verified": "free"},
        }
        await store.write("gate/config", config)


async def _sweep(sweeper: Sweeper) -> None:
    """Do what the scheduler does."""
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        await sweeper.sweep()


async def drive(case: Case, *, seed: int, callers: int, path: str, wrap: Wrap = lambda ledger: ledger) -> Outcome:
    """Run one case on the running loop, which should be a virtual one.

    Args:
        case: what goes wrong.
        seed: of everything that is drawn.
        callers: how many ask at once.
        path: of a new SQLite file.
        wrap: puts another ledger before the real one.
    """
    return await _Drive(case=case, seed=seed, callers=callers, path=path, wrap=wrap).run()


async def _spent(ledger: Any) -> int:
    """Return what the budget's document has for this day, holds included."""
    total = 0
    with suppress(KeyError):
        counters = await ledger.counters("budget/0")
        total = counters["days", f"{EPOCH:%Y-%m-%d}", "microdollars"]
    return int(total)
