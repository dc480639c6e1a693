"""Whatever goes wrong between the worker and the queue, no job is lost, and none is silent."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.worker.queue.workers import STUB, Worker, fake_queue, running
from worker.queue.fake import FakeQueue
from worker.queue.faults import Call, Fault, Faults


@asynccontextmanager
async def working(
    spool: Path, *faults: tuple[Call, list[Fault]], env: dict[str, str] | None = None, **queue: Any
) -> AsyncIterator[tuple[FakeQueue, Worker]]:
    """Run our loop against a queue with scripted faults."""
    fast = {"QUEUE_SPOOL": str(spool), "QUEUE_RETRY_MS": "20", "QUEUE_RESEND_MS": "100"}
    async with (
        fake_queue(Faults(dict(faults)), **queue) as queue_,
        running(queue_, str(STUB), "own", **{**fast, **(env or {})}) as worker,
    ):
        await queue_.until(lambda ledger: ledger.count("polled") > 0 or ledger.count("take 400") > 0)
        yield queue_, worker


async def answered(queue: FakeQueue, *inputs: Any, seconds_max: float = 20) -> list[list[Any]]:
    """Submit jobs, wait until all are answered, and return each job's results."""
    ids = [await queue.ledger.submit(told) for told in inputs]
    await queue.until(lambda ledger: not ledger.unanswered, seconds_max=seconds_max)
    return [queue.ledger.jobs[job_id].results for job_id in ids]


def left_in(spool: Path) -> list[Path]:
    return list(spool.rglob("*.result"))


async def test_a_job_that_is_delivered_twice_is_answered_once(tmp_path: Path) -> None:
    async with working(tmp_path, (Call.TAKE, [Fault.TWICE]), env={"JOBS_LEAST": "4"}) as (queue, _):
        await queue.ledger.submit({"ms": 300})
        await queue.until(lambda ledger: ledger.count("delivered") == 2)
        assert queue.ledger.unanswered == ["fake-1"]
        await answered(queue, {"ms": 400})

        assert queue.ledger.jobs["fake-1"].results == [{"output": {"echo": {"ms": 300}}}]


async def test_a_job_that_is_asked_for_again_gets_its_result_again(tmp_path: Path) -> None:
    """The queue has lost it, and would wait until the job's time is over."""
    async with working(tmp_path) as (queue, _):
        [[first]] = await answered(queue, {"ms": 1})
        await queue.ledger.requeue(["fake-1"], why="twice")
        await queue.until(lambda ledger: len(ledger.jobs["fake-1"].results) == 2)

        assert queue.ledger.jobs["fake-1"].results == [first, first]


async def test_an_acknowledgement_that_is_lost_changes_nothing(tmp_path: Path) -> None:
    """The same result comes again, byte for byte, and the spool is empty afterwards."""
    async with working(tmp_path, (Call.DONE, [Fault.LOST, Fault.LOST])) as (queue, _):
        await answered(queue, {"ms": 1})
        await queue.until(lambda ledger: len(ledger.jobs["fake-1"].results) == 3)
        results = queue.ledger.jobs["fake-1"].results

        assert results == [results[0]] * 3
        await answered(queue, {"ms": 2})
        assert left_in(tmp_path) == []


@pytest.mark.parametrize("fault", [Fault.BAD_REQUEST, Fault.TOO_MANY, Fault.BROKEN, Fault.UNHEARD])
async def test_a_take_that_is_refused_is_tried_again(fault: Fault, tmp_path: Path) -> None:
    async with working(tmp_path, (Call.TAKE, [Fault.NONE, fault])) as (queue, _):
        assert await answered(queue, "a", "b", "c") == [[{"output": {"echo": text}}] for text in "abc"]


async def test_a_queue_that_says_400_is_not_asked_in_a_tight_loop(tmp_path: Path) -> None:
    """RunPod says it while it freezes a worker; the SDK asks again as fast as it can."""
    async with working(tmp_path, (Call.TAKE, [Fault.BAD_REQUEST] * 1_000)) as (queue, _):
        await asyncio.sleep(1)

        assert queue.ledger.count("take 400") < 10


@pytest.mark.parametrize("fault", [Fault.BAD_REQUEST, Fault.TOO_MANY, Fault.BROKEN, Fault.UNHEARD])
async def test_a_result_that_is_refused_is_brought_again(fault: Fault, tmp_path: Path) -> None:
    async with working(tmp_path, (Call.DONE, [fault] * 3)) as (queue, _):
        assert await answered(queue, "a") == [[{"output": {"echo": "a"}}]]
        assert (await answered(queue, "b")) == [[{"output": {"echo": "b"}}]]
        assert left_in(tmp_path) == []


async def test_a_slow_link_holds_up_no_work(tmp_path: Path) -> None:
    """A result is on its way while the next job is taken."""
    async with working(tmp_path, rtt_seconds=0.03, env={"JOBS_MAX": "1"}) as (queue, _):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await answered(queue, *[{"ms": 1}] * 20)

        assert loop.time() - began < 20 * 0.06


async def test_a_worker_that_is_told_to_stop_takes_no_more(tmp_path: Path) -> None:
    """RunPod's own loop takes the job that comes a second later, and never finishes it."""
    async with working(tmp_path) as (queue, worker):
        await answered(queue, "before")
        worker.signal(signal.SIGTERM)
        await queue.until(lambda ledger: ledger.count("hung up") == 1)
        await queue.ledger.submit({"ms": 1})

        assert await worker.ended() == 0
        assert queue.ledger.count("delivered") == 1


async def test_a_job_that_crosses_the_hanging_up_is_answered(tmp_path: Path) -> None:
    async with working(tmp_path, (Call.TAKE, [Fault.CROSSED])) as (queue, worker):
        worker.signal(signal.SIGTERM)

        assert await worker.ended() == 0
        assert queue.ledger.jobs["fake-1"].results == [{"output": {"echo": {"crossed": True}}}]


async def test_a_job_that_outlasts_the_stop_is_answered_as_unfinished(tmp_path: Path) -> None:
    async with working(tmp_path, env={"STOP_SECONDS_MAX": "0.2"}) as (queue, worker):
        await queue.ledger.submit({"ms": 60_000})
        await queue.until(lambda ledger: ledger.count("delivered") == 1)
        worker.signal(signal.SIGTERM)

        assert await worker.ended() == 1
        assert "another try may do" in queue.ledger.jobs["fake-1"].results[0]["error"]


async def test_a_worker_that_is_killed_pings_no_more_and_its_job_goes_to_another(tmp_path: Path) -> None:
    """Nothing that it leaves behind may pretend that the job is in good hands."""
    async with working(tmp_path, silence_seconds=1.8) as (queue, worker):
        await queue.ledger.submit({"ms": 1_200})
        await queue.until(lambda ledger: any(e.what == "ping" and e.job_id for e in ledger.events))
        worker.signal(signal.SIGKILL)
        await worker.ended()
        killed_at = queue.ledger.events[-1].at
        async with running(queue, str(STUB), "own", worker_id="worker-2", QUEUE_SPOOL=str(tmp_path)):
            await queue.until(lambda ledger: not ledger.unanswered)

        late = [e for e in queue.ledger.events if e.at > killed_at + 0.1 and e.worker_id == "worker-1"]
        assert late == []
        assert queue.ledger.jobs["fake-1"].worker_id == "worker-2"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        pytest.param({"object": True}, "cannot be sent as JSON", id="an object"),
        pytest.param({"nan": True}, "cannot be sent as JSON", id="not a number"),
        pytest.param({"bytes": 20_000_001}, "20000025 bytes", id="too large"),
        pytest.param({"crash": True}, "the worker failed on this job", id="a crash"),
    ],
)
async def test_what_cannot_be_sent_is_an_error(told: dict[str, Any], reason: str, tmp_path: Path) -> None:
    async with working(tmp_path) as (queue, _):
        [[result]] = await answered(queue, told)

        assert list(result) == ["error"]
        assert reason in result["error"]
        assert "details" not in json.dumps(result)


async def test_a_result_that_nobody_takes_is_sent_by_the_next_process(tmp_path: Path) -> None:
    """The work is done and paid for; that the worker was replaced meanwhile is no reason to do it again."""
    async with working(tmp_path, (Call.DONE, [Fault.BROKEN] * 1_000)) as (queue, worker):
        await queue.ledger.submit("a text")
        await queue.until(lambda ledger: ledger.count("done 500") > 1)
        worker.signal(signal.SIGKILL)
        await worker.ended()
        assert len(left_in(tmp_path)) == 1
        queue.faults.clear()
        async with running(queue, str(STUB), "own", worker_id="worker-2", QUEUE_SPOOL=str(tmp_path)):
            await queue.until(lambda ledger: not ledger.unanswered)
            done = [event.worker_id for event in queue.ledger.events if event.what == "done"]

            assert done == ["worker-1"], "it goes where the one that took the job would have brought it"
            assert queue.ledger.jobs["fake-1"].results == [{"output": {"echo": "a text"}}]
            await answered(queue, "another")
            assert left_in(tmp_path) == []


async def test_a_result_that_stays_in_the_spool_is_sent_once_the_queue_takes_it(tmp_path: Path) -> None:
    async with working(tmp_path, (Call.DONE, [Fault.BROKEN] * 8)) as (queue, _):
        assert await answered(queue, "a text") == [[{"output": {"echo": "a text"}}]]


async def test_a_stop_with_an_unacknowledged_result_leaves_it_in_the_spool(tmp_path: Path) -> None:
    async with working(tmp_path, (Call.DONE, [Fault.BROKEN] * 1_000)) as (queue, worker):
        await queue.ledger.submit("a text")
        await queue.until(lambda ledger: ledger.count("done 500") >= 1)
        worker.signal(signal.SIGTERM)

        assert await worker.ended() in {0, 1}
        assert len(left_in(tmp_path)) == 1


async def test_in_a_storm_every_job_is_answered_and_rightly(tmp_path: Path) -> None:
    """All faults at once, by chance, with a seed: two hundred jobs, none lost, none silent, none mistaken."""
    chances = {
        Call.TAKE: {Fault.LOST: 0.1, Fault.TWICE: 0.1, Fault.BAD_REQUEST: 0.05, Fault.UNHEARD: 0.05},
        Call.DONE: {Fault.LOST: 0.1, Fault.BROKEN: 0.1, Fault.BAD_REQUEST: 0.05, Fault.UNHEARD: 0.05},
        Call.PING: {Fault.LOST: 0.1},
    }
    env = {"QUEUE_SPOOL": str(tmp_path), "QUEUE_RETRY_MS": "10", "QUEUE_RESEND_MS": "100", "JOBS_MAX": "4"}
    async with (
        fake_queue(Faults(chances=chances, seed=7), silence_seconds=2.5) as queue,
        running(queue, str(STUB), "own", **env),
    ):
        results = await answered(queue, *[{"ms": 5, "number": n} for n in range(200)], seconds_max=30)

        assert [r[0] for r in results] == [{"output": {"echo": {"ms": 5, "number": n}}} for n in range(200)]
        assert all(one == several[0] for several in results for one in several)
