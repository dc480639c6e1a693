"""The loop's smaller parts: the freeze's watch, the spool, results, waits, answers that are remembered."""

from __future__ import annotations

import asyncio
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.makers import FakeClock
from tests.worker.queue.makers import MovingClock, ScriptedPoster
from worker.log import EventLog
from worker.queue.jobs import Handle, Jobs
from worker.queue.link.backoff import Backoff
from worker.queue.link.freeze import watch_for_freezes
from worker.queue.results.answered import Answered
from worker.queue.results.reporter import Reporter
from worker.queue.results.result import Result, encode, failure
from worker.queue.results.spool import Kept, Spool
from worker.queue.results.telling import Telling
from worker.queue.room import Room


@pytest.mark.parametrize("field", ["frozen_ms", "drift_ms"])
async def test_a_freeze_shows_on_either_clock(field: str) -> None:
    """A machine that went on shows it on the monotonic clock, one that did not on the wall clock."""
    clock, seen = MovingClock(), list[float]()
    watching = asyncio.create_task(watch_for_freezes(clock, seen.append, tick_seconds=0.01))
    await asyncio.sleep(0.05)
    assert seen == []
    setattr(clock, field, 60_000)
    await asyncio.sleep(0.15)
    watching.cancel()

    assert [round(missing, -4) for missing in seen] == [60_000]


def test_the_spool_outlives_its_process_and_is_for_this_user_alone(tmp_path: Path) -> None:
    kept = Kept(job_id="a/../b\n", worker_id="worker-1", body=b'{"output":"\xc3\xbc\\n"}\nx')
    Spool(tmp_path, queue="q").keep(kept)
    Spool(tmp_path, queue="q").keep(kept)
    [file] = tmp_path.rglob("*.result")

    assert list(Spool(tmp_path, queue="q").read()) == [kept]
    assert list(Spool(tmp_path, queue="another queue").read()) == []
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    Spool(tmp_path, queue="q").drop(kept.job_id)
    Spool(tmp_path, queue="q").drop(kept.job_id)
    assert list(Spool(tmp_path, queue="q").read()) == []


def test_what_the_queue_has_forgotten_leaves_the_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path, queue="q", now=lambda: 2_000_000.0)
    for number, age in enumerate([90_000, 100]):
        spool.keep(Kept(job_id=str(number), worker_id="w", body=b"{}"))
        [file] = [path for path in tmp_path.rglob("*.result") if path.stat().st_mtime > 3_000_000]
        os.utime(file, (0, 2_000_000 - age))

    assert [kept.job_id for kept in spool.read()] == ["1"]
    assert len(list(tmp_path.rglob("*.result"))) == 1


def test_rubbish_in_the_spool_is_passed_over(tmp_path: Path) -> None:
    spool = Spool(tmp_path, queue="q")
    spool.keep(Kept(job_id="1", worker_id="w", body=b"{}"))
    (next(tmp_path.rglob("*.result")).parent / "other.result").write_bytes(b"no head")

    assert [kept.job_id for kept in spool.read()] == ["1"]


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
)


@given(_anything | st.fixed_dictionaries({"error": _anything}))
def test_whatever_a_handler_returns_there_is_something_to_send(output: Any) -> None:
    """Strict JSON with an output or an error that is text: all else would hang the job or end it without a word."""
    fields = json.loads(encode(output, bytes_max=1_000).body, parse_constant=pytest.fail)

    assert set(fields) <= {"output", "error", "stopPod"}
    assert isinstance(fields.get("error", ""), str)


def test_a_list_that_holds_itself_is_an_error() -> None:
    endless: list[Any] = []
    endless.append(endless)

    assert b"cannot be sent" in encode(endless, bytes_max=100).body


def test_a_refresh_is_told_as_the_sdk_tells_it() -> None:
    assert json.loads(encode({"a": 1, "refresh_worker": True}, bytes_max=100).body) == {
        "output": {"a": 1},
        "stopPod": True,
    }


def test_waits_double_up_to_a_bound_and_heed_what_the_server_asks() -> None:
    class Most:
        def uniform(self, a: float, b: float) -> float:
            return b

    backoff = Backoff(first=1, most=5, rng=Most())

    assert [backoff.next_seconds() for _ in range(4)] == [1, 2, 4, 5]
    backoff.reset()
    assert backoff.next_seconds(least=3) == 3 * 1.25
    assert backoff.next_seconds(least=10**9) == 5 * 1.25


def test_answers_are_remembered_as_far_as_they_fit_and_failures_never() -> None:
    answered = Answered(count_max=2, bytes_max=10)
    for name, body in {"a": b"1", "b": b"2", "c": b"3"}.items():
        answered.add(name, Result(body=body, failed=False))
    answered.add("failed", failure())
    assert [name in answered for name in ("a", "b", "c", "failed")] == [False, True, True, False]
    answered.add("large", Result(body=b"x" * 9, failed=False))

    assert [name in answered for name in ("b", "c", "large")] == [False, True, True]


class Inside:
    """Jobs, and what is around them."""

    def __init__(self, handle: Handle, spool: Path, *, refusals: int = 0) -> None:
        log = EventLog(io.StringIO())
        self.room = Room(jobs_max=1, soon_ms=500, clock=FakeClock())
        self.poster = ScriptedPoster(refusals=refusals)
        self.reporter = Reporter(
            poster=self.poster,
            spool=Spool(spool, queue="q"),
            worker_id="w",
            places=1,
            retry_seconds=0.001,
            resend_seconds=1,
            log=log,
        )
        self.jobs = Jobs(
            handle, room=self.room, reporter=self.reporter, tell=self.tell, result_bytes_max=100, log=log
        )

    def tell(self, job_id: str) -> Telling:
        return Telling(poster=self.poster, job_id=job_id, worker_id="w", streams=True)


async def test_a_job_that_is_stopped_before_its_first_step_gives_its_place_back(tmp_path: Path) -> None:
    """Its task never ran, so nothing in it could."""

    async def handle(job: Any, sink: Any) -> Any:
        pytest.fail("it was stopped")

    inside = Inside(handle, tmp_path)
    inside.jobs.take({"id": "1", "input": {}})
    assert (inside.room.free, inside.jobs.ids) == (0, ["1"])
    inside.jobs.stop("1")
    await asyncio.sleep(0.01)

    assert (inside.room.free, inside.jobs.ids, inside.poster.bodies) == (1, [], [])


async def test_a_handler_that_cancels_itself_has_failed(tmp_path: Path) -> None:
    """As when its engine drops its work: nobody stopped the job, so somebody waits for an answer."""

    async def handle(job: Any, sink: Any) -> Any:
        raise asyncio.CancelledError

    inside = Inside(handle, tmp_path)
    inside.jobs.take({"id": "1", "input": {}})
    await asyncio.sleep(0.01)

    assert inside.poster.bodies == [failure().body]


async def test_a_job_whose_result_is_in_the_spool_is_not_run_again(tmp_path: Path) -> None:
    """Its second run would be refused as a replay, and that answer might win over the good one."""
    ran = []

    async def handle(job: Any, sink: Any) -> Any:
        ran.append(job["id"])
        return "an answer"

    inside = Inside(handle, tmp_path, refusals=5)
    inside.jobs.take({"id": "1", "input": {}})
    await inside.jobs.drain(5)
    await inside.reporter.finish(5)
    assert (inside.poster.bodies, inside.jobs.ids) == ([], [])
    inside.jobs.take({"id": "1", "input": {}})
    await inside.reporter.finish(5)

    assert (ran, inside.poster.bodies) == (["1"], [b'{"output":"an answer"}'])
    assert list(Spool(tmp_path, queue="q").read()) == []


async def test_a_stop_that_comes_after_the_answer_loses_nothing(tmp_path: Path) -> None:
    """The answer waits for its place behind one that the queue does not take."""

    async def handle(job: Any, sink: Any) -> Any:
        return job["id"]

    inside = Inside(handle, tmp_path, refusals=2)
    for job_id in ("1", "2"):
        inside.jobs.take({"id": job_id, "input": {}})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    inside.jobs.stop("2")
    await inside.jobs.drain(5)
    await inside.reporter.finish(5)

    assert sorted(inside.poster.bodies) == [b'{"output":"1"}', b'{"output":"2"}']
