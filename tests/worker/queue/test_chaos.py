"""Whatever goes wrong between the worker and the queue, no job is lost, and none is silent.

Both loops run the same cases. What RunPod's own package does not keep is expected to fail, strictly and with the
reason: a release that keeps it is noticed here.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.worker.queue.workers import STUB, Worker, fake_queue, running
from worker.queue.fake.faults import Call, Fault, Faults
from worker.queue.fake.ledger import Ledger
from worker.queue.fake.server import FakeQueue


@dataclass(frozen=True)
class Loop:
    """What speaks to the queue, and how long it is waited for."""

    name: str
    seconds_max: float = 30


OWN, SDK = Loop("own"), Loop("sdk")


def sdk_fails(reason: str, *also: object) -> Any:
    """Return the parameters of a case that RunPod's package does not pass. It is not waited for as long."""
    broken = pytest.mark.xfail(reason=reason, raises=(AssertionError, TimeoutError), strict=True)
    return pytest.param(Loop("sdk", seconds_max=3), *also, marks=broken)


both_loops = pytest.mark.parametrize("loop", [OWN, SDK], ids=["own", "sdk"])


def only_ours(reason: str) -> pytest.MarkDecorator:
    """Run a case with both loops, and say why RunPod's package does not pass it."""
    return pytest.mark.parametrize("loop", [OWN, sdk_fails(reason)], ids=["own", "sdk"])


@dataclass(frozen=True)
class Chaos:
    """A worker in front of a queue that goes wrong."""

    loop: Loop
    queue: FakeQueue
    worker: Worker

    async def answered(self, *inputs: Any) -> list[list[Any]]:
        """Submit jobs, wait until all are answered, and return each job's results."""
        ids = [await self.queue.ledger.submit(told) for told in inputs]
        await self.until(lambda ledger: not ledger.unanswered)
        return [self.queue.ledger.jobs[job_id].results for job_id in ids]

    async def until(self, is_true: Any) -> Ledger:
        await self.queue.until(is_true, seconds_max=self.loop.seconds_max)
        return self.queue.ledger

    async def ended(self) -> int:
        return await self.worker.ended(seconds_max=self.loop.seconds_max)


@asynccontextmanager
async def working(
    loop: Loop, spool: Path, *faults: tuple[Call, list[Fault]], env: dict[str, str] | None = None, **queue: Any
) -> AsyncIterator[tuple[Chaos, FakeQueue]]:
    """Run a loop against a queue with scripted faults."""
    fast = {"QUEUE_SPOOL": str(spool), "QUEUE_RETRY_MS": "20", "QUEUE_RESEND_MS": "100"}
    async with (
        fake_queue(Faults(dict(faults)), **queue) as queue_,
        running(queue_, str(STUB), loop.name, **{**fast, **(env or {})}) as worker,
    ):
        await queue_.until(lambda ledger: ledger.count("polled") > 0 or ledger.count("take 400") > 0)
        yield Chaos(loop=loop, queue=queue_, worker=worker), queue_


def left_in(spool: Path) -> list[Path]:
    return list(spool.rglob("*.result"))


NO_RETRY = "it tries a result for a while or not at all, and then forgets it"
TAKES_ON = "after SIGTERM it waits for its long poll to end, and runs what that brings, or drops it"


@only_ours("it runs every delivery that it is not running already")
async def test_a_job_that_is_delivered_twice_is_answered_once(loop: Loop, tmp_path: Path) -> None:
    async with working(loop, tmp_path, (Call.TAKE, [Fault.TWICE]), env={"JOBS_LEAST": "4"}) as (chaos, queue):
        await queue.ledger.submit({"ms": 300})
        await chaos.until(lambda ledger: ledger.count("delivered") == 2)
        assert queue.ledger.unanswered == ["fake-1"]
        await chaos.answered({"ms": 400})

        assert queue.ledger.jobs["fake-1"].results == [{"output": {"echo": {"ms": 300}}}]


@both_loops
async def test_a_job_that_is_asked_for_again_gets_its_result_again(loop: Loop, tmp_path: Path) -> None:
    """The queue has lost it, and would wait until the job's time is over."""
    async with working(loop, tmp_path) as (chaos, queue):
        [[first]] = await chaos.answered({"ms": 1})
        await queue.ledger.requeue(["fake-1"], why="twice")
        await chaos.until(lambda ledger: len(ledger.jobs["fake-1"].results) == 2)

        assert queue.ledger.jobs["fake-1"].results == [first, first]


@only_ours(NO_RETRY)
async def test_an_acknowledgement_that_is_lost_changes_nothing(loop: Loop, tmp_path: Path) -> None:
    """The same result comes again, byte for byte, and the spool is empty afterwards."""
    async with working(loop, tmp_path, (Call.DONE, [Fault.LOST, Fault.LOST])) as (chaos, queue):
        await chaos.answered({"ms": 1})
        await chaos.until(lambda ledger: len(ledger.jobs["fake-1"].results) == 3)
        results = queue.ledger.jobs["fake-1"].results

        assert results == [results[0]] * 3
        await chaos.answered({"ms": 2})
        assert left_in(tmp_path) == []


@both_loops
@pytest.mark.parametrize("fault", [Fault.BAD_REQUEST, Fault.TOO_MANY, Fault.BROKEN, Fault.UNHEARD])
async def test_a_take_that_is_refused_is_tried_again(loop: Loop, fault: Fault, tmp_path: Path) -> None:
    async with working(loop, tmp_path, (Call.TAKE, [Fault.NONE, fault])) as (chaos, _):
        assert await chaos.answered("a", "b", "c") == [[{"output": {"echo": text}}] for text in "abc"]


@only_ours("it asks again as fast as it can")
async def test_a_queue_that_says_400_is_not_asked_in_a_tight_loop(loop: Loop, tmp_path: Path) -> None:
    """RunPod says it while it freezes a worker."""
    async with working(loop, tmp_path, (Call.TAKE, [Fault.BAD_REQUEST] * 1_000)) as (_, queue):
        await asyncio.sleep(1)

        assert queue.ledger.count("take 400") < 10


@pytest.mark.parametrize(
    ("loop", "fault"),
    [
        *((OWN, fault) for fault in (Fault.BAD_REQUEST, Fault.TOO_MANY, Fault.BROKEN, Fault.UNHEARD)),
        sdk_fails(NO_RETRY, Fault.BAD_REQUEST),
    ],
)
async def test_a_result_that_is_refused_is_brought_again(loop: Loop, fault: Fault, tmp_path: Path) -> None:
    async with working(loop, tmp_path, (Call.DONE, [fault] * 3)) as (chaos, _):
        assert await chaos.answered("a") == [[{"output": {"echo": "a"}}]]
        assert (await chaos.answered("b")) == [[{"output": {"echo": "b"}}]]
        assert left_in(tmp_path) == []


@only_ours("it sleeps a second whenever all its places are taken")
async def test_a_slow_link_holds_up_no_work(loop: Loop, tmp_path: Path) -> None:
    """A result is on its way while the next job is taken."""
    async with working(loop, tmp_path, rtt_seconds=0.03, env={"JOBS_MAX": "1"}) as (chaos, _):
        clock = asyncio.get_running_loop()
        began = clock.time()
        await chaos.answered(*[{"ms": 1}] * 20)

        assert clock.time() - began < 20 * 0.06


@only_ours(TAKES_ON)
async def test_a_worker_that_is_told_to_stop_takes_no_more(loop: Loop, tmp_path: Path) -> None:
    async with working(loop, tmp_path) as (chaos, queue):
        await chaos.answered("before")
        chaos.worker.signal(signal.SIGTERM)
        await chaos.until(lambda ledger: ledger.count("hung up") == 1)
        await queue.ledger.submit({"ms": 1})

        assert await chaos.ended() == 0
        assert queue.ledger.count("delivered") == 1


@only_ours(TAKES_ON)
async def test_a_job_that_crosses_the_hanging_up_is_answered(loop: Loop, tmp_path: Path) -> None:
    async with working(loop, tmp_path, (Call.TAKE, [Fault.CROSSED])) as (chaos, queue):
        chaos.worker.signal(signal.SIGTERM)

        assert await chaos.ended() == 0
        assert queue.ledger.jobs["fake-1"].results == [{"output": {"echo": {"crossed": True}}}]


@only_ours("it waits for its jobs as long as they take, and is killed")
async def test_a_job_that_outlasts_the_stop_is_answered_as_unfinished(loop: Loop, tmp_path: Path) -> None:
    async with working(loop, tmp_path, env={"STOP_SECONDS_MAX": "0.2"}) as (chaos, queue):
        await queue.ledger.submit({"ms": 60_000})
        await chaos.until(lambda ledger: ledger.count("delivered") == 1)
        chaos.worker.signal(signal.SIGTERM)

        assert await chaos.ended() == 1
        assert "another try may do" in queue.ledger.jobs["fake-1"].results[0]["error"]


@only_ours("its heartbeat is a process of its own, which goes on naming the job")
async def test_a_worker_that_is_killed_pings_no_more_and_its_job_goes_to_another(loop: Loop, tmp_path: Path) -> None:
    """Nothing that it leaves behind may pretend that the job is in good hands."""
    async with working(loop, tmp_path, silence_seconds=1.8) as (chaos, queue):
        await queue.ledger.submit({"ms": 1_200})
        await queue.until(lambda ledger: any(e.what == "ping" and e.job_id for e in ledger.events))
        chaos.worker.signal(signal.SIGKILL)
        await chaos.ended()
        killed_at = queue.ledger.events[-1].at
        async with running(queue, str(STUB), loop.name, worker_id="worker-2", QUEUE_SPOOL=str(tmp_path)):
            await chaos.until(lambda ledger: not ledger.unanswered)

        late = [e for e in queue.ledger.events if e.at > killed_at + 0.1 and e.worker_id == "worker-1"]
        assert late == []
        assert queue.ledger.jobs["fake-1"].worker_id == "worker-2"


SILENT = "it serialises behind its own guard, so that no result is ever sent"
LEAKS = "it sends the traceback to the caller"


@pytest.mark.parametrize(
    ("loop", "told", "reason"),
    [
        pytest.param(OWN, {"object": True}, "cannot be sent as JSON", id="own-an object"),
        pytest.param(OWN, {"nan": True}, "cannot be sent as JSON", id="own-not a number"),
        pytest.param(OWN, {"bytes": 20_000_001}, "20000025 bytes", id="own-too large"),
        pytest.param(OWN, {"crash": True}, "the worker failed on this job", id="own-a crash"),
        sdk_fails(SILENT, {"object": True}, "JSON"),
        sdk_fails("it drops what the queue finds too large", {"bytes": 20_000_001}, "bytes"),
        sdk_fails(LEAKS, {"crash": True}, ""),
    ],
)
async def test_what_cannot_be_sent_is_an_error(loop: Loop, told: dict[str, Any], reason: str, tmp_path: Path) -> None:
    async with working(loop, tmp_path) as (chaos, _):
        [[result]] = await chaos.answered(told)

        assert list(result) == ["error"]
        assert reason in result["error"]
        assert "details" not in json.dumps(result)


@only_ours("it keeps nothing on disk")
async def test_a_result_that_nobody_takes_is_sent_by_the_next_process(loop: Loop, tmp_path: Path) -> None:
    """The work is done and paid for; that the worker was replaced meanwhile is no reason to do it again."""
    async with working(loop, tmp_path, (Call.DONE, [Fault.BROKEN] * 1_000)) as (chaos, queue):
        await queue.ledger.submit("a text")
        await chaos.until(lambda ledger: ledger.count("done 500") > 1)
        chaos.worker.signal(signal.SIGKILL)
        await chaos.ended()
        assert len(left_in(tmp_path)) == 1
        queue.faults.clear()
        async with running(queue, str(STUB), loop.name, worker_id="worker-2", QUEUE_SPOOL=str(tmp_path)):
            await chaos.until(lambda ledger: not ledger.unanswered)
            done = [event.worker_id for event in queue.ledger.events if event.what == "done"]

            assert done == ["worker-1"], "it goes where the one that took the job would have brought it"
            assert queue.ledger.jobs["fake-1"].results == [{"output": {"echo": "a text"}}]
            await chaos.answered("another")
            assert left_in(tmp_path) == []


@only_ours(NO_RETRY)
async def test_a_result_that_stays_in_the_spool_is_sent_once_the_queue_takes_it(loop: Loop, tmp_path: Path) -> None:
    async with working(loop, tmp_path, (Call.DONE, [Fault.BROKEN] * 8)) as (chaos, _):
        assert await chaos.answered("a text") == [[{"output": {"echo": "a text"}}]]


@only_ours("it keeps nothing on disk")
async def test_a_stop_with_an_unacknowledged_result_leaves_it_in_the_spool(loop: Loop, tmp_path: Path) -> None:
    async with working(loop, tmp_path, (Call.DONE, [Fault.BROKEN] * 1_000)) as (chaos, queue):
        await queue.ledger.submit("a text")
        await chaos.until(lambda ledger: ledger.count("done 500") >= 1)
        chaos.worker.signal(signal.SIGTERM)

        assert await chaos.ended() in {0, 1}
        assert len(left_in(tmp_path)) == 1


@only_ours("it loses results, and is slow")
async def test_in_a_storm_every_job_is_answered_and_rightly(loop: Loop, tmp_path: Path) -> None:
    """All faults at once, by chance, with a seed: two hundred jobs, none lost, none silent, none mistaken."""
    chances = {
        Call.TAKE: {Fault.LOST: 0.1, Fault.TWICE: 0.1, Fault.BAD_REQUEST: 0.05, Fault.UNHEARD: 0.05},
        Call.DONE: {Fault.LOST: 0.1, Fault.BROKEN: 0.1, Fault.BAD_REQUEST: 0.05, Fault.UNHEARD: 0.05},
        Call.PING: {Fault.LOST: 0.1},
    }
    env = {"QUEUE_RETRY_MS": "10", "JOBS_MAX": "4"}
    async with working(loop, tmp_path, env=env, silence_seconds=2.5) as (chaos, queue):
        queue.faults = Faults(chances=chances, seed=7)
        results = await chaos.answered(*[{"ms": 5, "number": n} for n in range(200)])

        assert [r[0] for r in results] == [{"output": {"echo": {"ms": 5, "number": n}}} for n in range(200)]
        assert all(one == several[0] for several in results for one in several)
