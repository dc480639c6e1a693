"""A gate on a SQLite ledger, with everything around it: what tests of the gate's own paths begin with."""

from __future__ import annotations

from typing import Any

from gate.domain.answer import Answer
from gate.domain.job import Job
from gate.domain.meter import Remaining
from gate.domain.plan import Cohort
from gate.domain.request import InferRequest
from gate.guard.sweeper import Sweeper
from gate.ports import Caller, Credentials
from gate.provider import Provider
from gate.service import Gate
from gate.steps.pacing import Pace
from gate.steps.policy import Policies
from gate.steps.results import ResultStore
from gate.steps.webhooks import Webhooks
from tests.gate.doubles import BelievingVerifier, Script, Step, WatchedLedger, WatchedLog, fill
from tests.makers import CREDENTIALS, FakeClock, make_documents, make_model, make_plan

DAY = ("days", "2026-11-21")
HELD = make_model().worst_case_microdollars
PAYLOAD = "a text that nobody else may read"
ANONYMOUS = Credentials(bearer="anonymous-1")

WEBHOOKS = Webhooks(url="https://hop1.example/webhook", secret=b"s" * 32)

ALICE = Caller(uid="alice", cohort=Cohort.VERIFIED)


class World:
    """A gate on a SQLite ledger, and everything around it."""

    def __init__(self, ledger: WatchedLedger) -> None:
        self.ledger = ledger
        self.clock = FakeClock()
        self.log = WatchedLog()
        self.provider = Script()
        self.results: ResultStore | None = None
        self.policies = Policies(documents=ledger, notifier=self.log, clock=self.clock, fresh_seconds=10)
        self.pace = Pace(clock=self.clock)
        self.gate = self.another_gate()

    def another_gate(self, *, provider: Provider | None = None, **changes: Any) -> Gate:
        return Gate(
            policies=self.policies,
            ledger=self.ledger,
            provider=provider or self.provider,
            model=make_model(**changes),
            webhooks=WEBHOOKS,
            results=self.results,
            pace=self.pace,
            clock=self.clock,
            log=self.log,
        )

    def script(self, *steps: Step) -> None:
        self.provider.steps = list(steps)

    async def infer(self, inputs: Any = PAYLOAD, *, credentials: Credentials = CREDENTIALS, **fields: Any) -> Answer:
        caller = await BelievingVerifier().verify(credentials)
        return await self.gate.infer(caller, InferRequest(inputs=inputs, **fields))

    async def quota(self, credentials: Credentials = CREDENTIALS) -> tuple[Remaining, ...]:
        return await self.gate.quota(await BelievingVerifier().verify(credentials))

    async def the_job(self) -> Job:
        [job] = await self.ledger.jobs()
        return job

    async def counter(self, *path: str, account: str = "usage/alice") -> int:
        return (await self.ledger.counters(account)).get(path, 0)

    def sweeper(self) -> Sweeper:
        return Sweeper(
            ledger=self.ledger,
            policies=self.policies,
            clock=self.clock,
            log=self.log,
            visit=self.gate.follower.visit,
        )


async def set_plan(world: World, **limits: Any) -> None:
    await fill(world.ledger, make_documents(make_plan(**limits)))
