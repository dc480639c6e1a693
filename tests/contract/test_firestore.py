"""The Firestore ledger keeps the promises of every ledger, and its own: few operations, and no loss on the wire."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from gate.domain import meter
from gate.domain.job import Job, JobState, Settlement
from gate.errors import LedgerError
from gate.ledgers import _firestore_wire
from gate.ledgers.firestore import FirestoreLedger
from gate.ports import Admitted, Denied, Repeated
from tests.contract.document_contract import DocumentStoreContract
from tests.contract.ledger_contract import (
    DAY,
    LATER,
    MONTH,
    DocumentsContract,
    LedgerContract,
    held,
    hold,
    nonzero,
    settlement,
)
from tests.contract.lossy_proxy import LossyProxy
from tests.contract.watched import Sent, Watched
from tests.emulators import firestore_emulator, fresh_project
from tests.makers import NOON, make_job, make_moves, make_plan

pytestmark = pytest.mark.emulator

ZERO = make_plan(requests_per_day=0)


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())
    return fresh_project()


@pytest.fixture
async def ledger(project: str) -> AsyncIterator[FirestoreLedger]:
    ledger = FirestoreLedger(project)
    yield ledger
    await ledger.close()


@pytest.fixture
async def other(project: str) -> AsyncIterator[FirestoreLedger]:
    """A second instance of the function, with its own connection."""
    other = FirestoreLedger(project)
    yield other
    await other.close()


@pytest.fixture
def store(ledger: FirestoreLedger) -> FirestoreLedger:
    return ledger


@pytest.fixture
def documents(ledger: FirestoreLedger) -> FirestoreLedger:
    return ledger


class TestFirestoreLedger(LedgerContract):
    pass


class TestFirestoreDocuments(DocumentsContract, DocumentStoreContract):
    pass


class TestOperations:
    """What a job costs at Firestore, which `money.Tariff` charges for."""

    @pytest.fixture
    def operations(self) -> Counter[str]:
        return Counter()

    @pytest.fixture
    async def ledger(self, project: str, operations: Counter[str]) -> AsyncIterator[FirestoreLedger]:
        ledger = FirestoreLedger(project, exchanges=Watched(_counting(operations)))
        yield ledger
        await ledger.close()

    async def test_a_job_takes_two_commits_of_three_writes(
        self, ledger: FirestoreLedger, operations: Counter[str]
    ) -> None:
        """The job, its caller and the budget, when held and when settled; and nothing is read."""
        job = await held(ledger)
        await ledger.settle(job, settlement(), at=LATER)

        assert operations == {"commit": 2, "writes": 6}

    async def test_a_denied_job_takes_two_commits_of_three_writes(
        self, ledger: FirestoreLedger, operations: Counter[str]
    ) -> None:
        """One of them is a delete."""
        await hold(ledger, make_job(), plan=ZERO)

        assert operations == {"commit": 2, "writes": 6}

    async def test_a_repeated_job_takes_a_refused_commit_and_a_read(
        self, ledger: FirestoreLedger, operations: Counter[str]
    ) -> None:
        """A commit that is refused writes nothing."""
        job = await held(ledger)
        operations.clear()

        assert isinstance(await hold(ledger, make_job(job_id=job.job_id)), Repeated)
        assert operations == {"commit": 1, "writes": 3, "batchGet": 1}


class TestRaces:
    """Two instances, as Cloud Run starts them."""

    async def test_two_instances_admit_exactly_the_limit(
        self, ledger: FirestoreLedger, other: FirestoreLedger
    ) -> None:
        """The count is Firestore's, not an instance's."""
        plan, both = make_plan(requests_per_day=5), [ledger, other]
        jobs = [make_job(plan=plan) for _ in range(100)]

        outcomes = await asyncio.gather(*(hold(both[n % 2], job, plan=plan) for n, job in enumerate(jobs)))

        assert sum(isinstance(outcome, Admitted) for outcome in outcomes) == 5
        assert (await ledger.counters("usage/alice"))[*DAY, "requests"] == 5

    async def test_two_instances_hold_a_repeated_job_once(
        self, ledger: FirestoreLedger, other: FirestoreLedger
    ) -> None:
        """A client that retries may reach another instance."""
        jobs, both = [make_job(job_id="one") for _ in range(50)], [ledger, other]

        outcomes = await asyncio.gather(*(hold(both[n % 2], job) for n, job in enumerate(jobs)))

        assert sum(isinstance(outcome, Admitted) for outcome in outcomes) == 1
        assert (await ledger.counters("usage/alice"))[*DAY, "requests"] == 1

    async def test_two_instances_settle_once(self, ledger: FirestoreLedger, other: FirestoreLedger) -> None:
        """The one that answers and the one that sweeps."""
        job = await held(ledger)
        swept = Settlement.in_full(job, JobState.EXPIRED, "lost")

        ends = await asyncio.gather(
            *(ledger.settle(job, settlement(), at=LATER) for _ in range(10)),
            *(other.settle(job, swept, at=LATER) for _ in range(10)),
        )

        counters = nonzero(await ledger.counters("usage/alice"))
        assert len({(end.state, end.version) for end in ends}) == 1
        assert counters[*DAY, "microdollars"] == ends[0].settled_microdollars
        assert ("in_flight",) not in counters

    async def test_racing_denied_twins_leave_nothing(self, ledger: FirestoreLedger, other: FirestoreLedger) -> None:
        """One may see the other's job before it is put back, and nobody's put-back may count twice."""
        jobs, both = [make_job(job_id="one") for _ in range(30)], [ledger, other]

        outcomes = await asyncio.gather(
            *(hold(both[n % 2], job, plan=ZERO) for n, job in enumerate(jobs)), return_exceptions=True
        )

        assert all(isinstance(outcome, Denied | Repeated | LedgerError) for outcome in outcomes)
        assert nonzero(await ledger.counters("usage/alice")) == {}
        assert await ledger.job("one") is None

    async def test_a_hold_whose_twin_is_put_back_meanwhile_is_tried_again(
        self, ledger: FirestoreLedger, other: FirestoreLedger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The twin was there at our commit and gone at our read: nobody holds the job, so we may."""
        twin = await held(other)
        read = ledger.job

        async def read_after_put_back(job_id: str) -> Job | None:
            await other._put_back(twin, make_moves(twin))
            return await read(job_id)

        monkeypatch.setattr(ledger, "job", read_after_put_back)

        assert isinstance(await hold(ledger, make_job(job_id=twin.job_id)), Admitted)
        assert (await ledger.counters("usage/alice"))[*DAY, "requests"] == 1

    async def test_a_hold_that_never_gets_through_ends(
        self, ledger: FirestoreLedger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A loop that waits has a bound."""
        job = await held(ledger)
        monkeypatch.setattr(ledger, "job", _nothing)

        with pytest.raises(LedgerError, match=job.job_id):
            await hold(ledger, make_job(job_id=job.job_id))


class TestLostAnswers:
    """A commit took, and its answer never came: the SDK sends it again."""

    @pytest.fixture
    async def proxy(self) -> AsyncIterator[LossyProxy]:
        proxy = LossyProxy(firestore_emulator())
        yield proxy
        await proxy.close()

    @pytest.fixture
    async def ledger(
        self, project: str, proxy: LossyProxy, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[FirestoreLedger]:
        with monkeypatch.context() as patch:
            patch.setenv("FIRESTORE_EMULATOR_HOST", await proxy.start())
            ledger = FirestoreLedger(project)
            await ledger.job("connects")
        yield ledger
        await ledger.close()

    async def test_a_hold_whose_answer_was_lost_is_admitted_and_counted_once(
        self, ledger: FirestoreLedger, other: FirestoreLedger, proxy: LossyProxy
    ) -> None:
        """It finds its own job, and knows it by its attempt."""
        job = make_job()
        proxy.withhold()
        waiting = asyncio.create_task(hold(ledger, job, plan=make_plan(requests_per_day=1)))
        await proxy.cut_once(lambda: _exists(other, job.job_id))

        outcome = await waiting
        assert isinstance(outcome, Admitted)
        assert outcome.job == await other.job(job.job_id)
        assert outcome.sums["usage/alice", (*DAY, "requests")] == 1
        assert set(outcome.sums) >= {move.key for move in make_moves(job)}
        assert (await other.counters("usage/alice"))[*DAY, "requests"] == 1

    async def test_a_denied_hold_whose_answer_was_lost_is_put_back(
        self, ledger: FirestoreLedger, other: FirestoreLedger, proxy: LossyProxy
    ) -> None:
        """It decides on the counters as they stand, which hold its own part."""
        job = make_job()
        proxy.withhold()
        waiting = asyncio.create_task(hold(ledger, job, plan=ZERO))
        await proxy.cut_once(lambda: _exists(other, job.job_id))

        assert isinstance(await waiting, Denied)
        assert nonzero(await other.counters("usage/alice")) == {}
        assert await other.job(job.job_id) is None

    async def test_a_put_back_whose_answer_was_lost_counts_once(
        self, ledger: FirestoreLedger, other: FirestoreLedger, proxy: LossyProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else a denial would give the caller room that nobody has paid for."""
        await held(other)
        job = make_job()
        monkeypatch.setattr(meter, "decide", _after(proxy.withhold, meter.decide))
        waiting = asyncio.create_task(hold(ledger, job, plan=ZERO))
        await proxy.cut_once(lambda: _put_back(other, job.job_id, proxy))

        assert isinstance(await waiting, Denied)
        assert (await other.counters("usage/alice"))[*DAY, "requests"] == 1
        assert (await other.counters("budget/0"))["in_flight",] == 1

    async def test_a_settlement_whose_answer_was_lost_counts_once(
        self, ledger: FirestoreLedger, other: FirestoreLedger, proxy: LossyProxy
    ) -> None:
        """The second commit finds the job at another version."""
        job = await held(ledger)
        proxy.withhold()
        waiting = asyncio.create_task(ledger.settle(job, settlement(), at=LATER))
        await proxy.cut_once(lambda: _ended(other, job.job_id))

        assert await waiting == await other.job(job.job_id)
        assert (await other.counters("usage/alice"))[*DAY, "microdollars"] == 120
        assert (await other.counters("usage/alice"))["in_flight",] == 0

    async def test_an_answer_that_never_comes_refuses_and_leaves_the_hold_to_the_sweeper(
        self, ledger: FirestoreLedger, other: FirestoreLedger, proxy: LossyProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not knowing is no admission; what stands all the same expires."""
        monkeypatch.setattr(_firestore_wire, "_TIMEOUT_SECONDS", 0.5)
        job = make_job()
        proxy.withhold()

        with pytest.raises(LedgerError, match="Firestore"):
            await hold(ledger, job)
        assert [one.job_id for one in await other.expired(now=job.expires_at)] == [job.job_id]

    async def test_a_cancelled_hold_is_cancelled(self, ledger: FirestoreLedger, proxy: LossyProxy) -> None:
        """A caller who goes away is not answered with a ledger's error."""
        proxy.withhold()
        waiting = asyncio.create_task(hold(ledger, make_job()))
        await asyncio.sleep(0.05)
        waiting.cancel()

        with pytest.raises(asyncio.CancelledError):
            await waiting


class TestDocumentsAsTheOwnerSeesThem:
    async def test_documents_carry_a_schema_version_and_jobs_a_time_to_die(self, ledger: FirestoreLedger) -> None:
        """A later layout can tell an older one; Firestore deletes jobs 30 days after their end."""
        job = await held(ledger)
        await ledger.settle(job, settlement(), at=LATER)

        document = await ledger.read(f"jobs/{job.job_id}")
        assert document is not None
        assert (document["schema_version"], document["ttl"]) == (1, LATER + timedelta(days=30))
        assert isinstance(document["held_at"], datetime)
        assert [(await ledger.read(path) or {})["schema_version"] for path in ("usage/alice", "budget/0")] == [1, 1]

    async def test_counters_lie_in_maps_by_period(self, ledger: FirestoreLedger) -> None:
        """Not in fields whose names hold dots."""
        await held(ledger)

        document = await ledger.read("usage/alice")
        assert document is not None
        hours = {"12": {"microdollars": 1_000}}
        today = {"requests": 1, "gpu_ms": 30_000, "microdollars": 1_000, "hours": hours}
        assert document["days"] == {"2026-11-21": today}
        assert document["months"] == {"2026-11": {"requests": 1, "microdollars": 1_000}}

    async def test_a_settlement_forgets_what_is_long_past_and_nothing_else(self, ledger: FirestoreLedger) -> None:
        """So that an account never outgrows a document."""
        days = {f"{NOON - timedelta(days=age):%Y-%m-%d}": {"requests": 1} for age in (1, 31, 32, 62)}
        months = {month: {"requests": 1} for month in ("2026-10", "2025-10", "2025-09", "2024-09")}
        await ledger.write("usage/alice", {"days": days, "months": months})
        job = await held(ledger)

        await ledger.settle(job, settlement(), at=LATER)

        document = await ledger.read("usage/alice")
        assert document is not None
        assert sorted(document["days"]) == ["2026-10-21", "2026-11-20", "2026-11-21"]
        assert sorted(document["months"]) == ["2025-10", "2026-10", "2026-11"]

    async def test_a_settlement_forgets_the_hours_of_past_days(self, ledger: FirestoreLedger) -> None:
        """A budget by the hour needs the hour alone; and forgetting what is not there makes nothing."""
        past = {f"{NOON - timedelta(days=age):%Y-%m-%d}": {"requests": 1, "hours": {"09": {}}} for age in (1, 2, 31)}
        await ledger.write("usage/alice", {"days": past})

        await ledger.settle(await held(ledger), settlement(), at=LATER)

        document = await ledger.read("usage/alice")
        assert document is not None
        assert [day for day, its in sorted(document["days"].items()) if "hours" in its] == [
            "2026-11-20",
            "2026-11-21",
        ]
        assert len(document["days"]) == 4

    async def test_a_job_settled_weeks_late_still_moves_its_own_day(self, ledger: FirestoreLedger) -> None:
        """The day it would otherwise forget."""
        job = await held(ledger)

        await ledger.settle(job, settlement(), at=NOON + timedelta(days=40))

        assert (await ledger.counters("usage/alice"))[*DAY, "microdollars"] == 120

    @pytest.mark.parametrize(
        ("edited", "sum_after"),
        [pytest.param(2.5, 4, id="fraction"), pytest.param("five", 1, id="text"), pytest.param(None, 1, id="null")],
    )
    async def test_a_counter_edited_in_the_console_is_counted_on(
        self, ledger: FirestoreLedger, edited: object, sum_after: int
    ) -> None:
        """A fraction is rounded up; what is no number starts anew, as Firestore's increment does."""
        await ledger.write("usage/alice", {"days": {DAY[1]: {"requests": edited}}})

        outcome = await hold(ledger, make_job())

        assert isinstance(outcome, Admitted)
        assert outcome.sums["usage/alice", (*DAY, "requests")] == sum_after
        assert (await ledger.counters("usage/alice"))[*DAY, "requests"] == sum_after

    async def test_a_counter_that_is_not_a_number_refuses(self, ledger: FirestoreLedger) -> None:
        """No sum can be decided on, and the error says what to do."""
        await ledger.write("usage/alice", {"days": {DAY[1]: {"requests": float("nan")}}})

        with pytest.raises(LedgerError, match="whole number"):
            await hold(ledger, make_job())

    async def test_a_job_edited_in_the_console_can_still_be_settled(self, ledger: FirestoreLedger) -> None:
        """Its version is another by then; it is read again."""
        job = await held(ledger)
        document = await ledger.read(f"jobs/{job.job_id}")
        await ledger.write(f"jobs/{job.job_id}", {**(document or {}), "note": "looked at"})

        done = await ledger.settle(job, settlement(), at=LATER)

        assert done.state is JobState.SETTLED
        assert (await ledger.counters("usage/alice"))[*MONTH, "microdollars"] == 120

    async def test_a_job_edited_into_nonsense_is_a_ledger_error_that_names_it(self, ledger: FirestoreLedger) -> None:
        """Its owner finds it in the log."""
        await ledger.write("jobs/odd", {"job_id": "odd", "state": "maybe"})

        with pytest.raises(LedgerError, match="jobs/odd"):
            await ledger.job("odd")


class TestConnection:
    async def test_no_firestore_no_spending(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A ledger that cannot be reached refuses, within its time."""
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")
        monkeypatch.setattr(_firestore_wire, "_TIMEOUT_SECONDS", 0.2)
        ledger = FirestoreLedger("demo-nobody")

        with pytest.raises(LedgerError, match="Firestore"):
            await hold(ledger, make_job())
        with pytest.raises(LedgerError, match="Firestore"):
            await ledger.jobs()
        await ledger.close()

    async def test_a_closed_ledger_refuses(self, ledger: FirestoreLedger) -> None:
        """Rather than hang."""
        await held(ledger)
        await ledger.close()
        await ledger.close()

        with pytest.raises(LedgerError, match="closed"):
            await hold(ledger, make_job())

    def test_importing_the_ledger_imports_no_sdk(self) -> None:
        """A cold start pays for it when the first call needs it, and no channel is there before a server forks."""
        script = "import sys, gate.ledgers.firestore; print({'grpc', 'google.cloud.firestore'} & set(sys.modules))"
        command, env = [sys.executable, "-c", script], {"PYTHONPATH": os.pathsep.join(sys.path)}
        loaded = subprocess.run(command, capture_output=True, text=True, check=True, env=env)

        assert loaded.stdout.strip() == "set()"


class TestAskedAtOnce:
    """Documents that are asked for in one turn of the event loop, as a first call asks for what it needs."""

    @pytest.fixture
    def sent(self) -> list[Sent]:
        return []

    @pytest.fixture
    async def ledger(self, project: str, sent: list[Sent]) -> AsyncIterator[FirestoreLedger]:
        ledger = FirestoreLedger(project, exchanges=Watched(sent.append))
        await ledger.write("plans/free", {"burst": 1})
        await ledger.write("plans/paid", {"burst": 2})
        sent.clear()
        yield ledger
        await ledger.close()

    async def test_they_are_one_round_trip(self, ledger: FirestoreLedger, sent: list[Sent]) -> None:
        """Each has its own answer, and one that is not there is nobody else's business."""
        found = await asyncio.gather(*(ledger.read(f"plans/{name}") for name in ("paid", "none", "free", "paid")))

        assert [one and one["burst"] for one in found] == [2, None, 1, 2]
        assert [one.url.rpartition(":")[2] for one in sent] == ["batchGet"]

    async def test_who_goes_away_takes_nobody_along(self, ledger: FirestoreLedger) -> None:
        leaving, staying = (asyncio.ensure_future(ledger.read("plans/free")) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()

        assert (await staying or {})["burst"] == 1

    async def test_a_path_that_cannot_be_is_nobody_elses_business(self, ledger: FirestoreLedger) -> None:
        """Whoever asks for the others gets them."""
        reads = [ledger.read(path) for path in ("plans/free", "no/document/there")]
        found, told = await asyncio.gather(*reads, return_exceptions=True)

        assert isinstance(found, dict)
        assert (found["burst"], type(told)) == (1, LedgerError)


def _counting(operations: Counter[str]) -> Callable[[Sent], None]:
    def count(sent: Sent) -> None:
        operations[sent.url.rpartition(":")[2]] += 1
        writes = json.loads(sent.body or b"{}").get("writes", [])
        if writes:
            operations["writes"] += len(writes)

    return count


def _after(first: Callable[[], None], then: Callable[..., Any]) -> Callable[..., Any]:
    def both(*args: Any, **kwargs: Any) -> Any:
        first()
        return then(*args, **kwargs)

    return both


async def _nothing(job_id: str) -> None:
    return None


async def _exists(ledger: FirestoreLedger, job_id: str) -> bool:
    return await ledger.job(job_id) is not None


async def _ended(ledger: FirestoreLedger, job_id: str) -> bool:
    job = await ledger.job(job_id)
    return job is not None and job.state.final


async def _put_back(ledger: FirestoreLedger, job_id: str, proxy: LossyProxy) -> bool:
    return proxy.withholding and await ledger.job(job_id) is None
