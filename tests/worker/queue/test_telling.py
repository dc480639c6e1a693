"""A job's parts: in order, before its result, and never instead of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.queue.makers import ScriptedPoster
from tests.worker.queue.workers import fake_queue
from worker.batching.request import Sink
from worker.log import EventLog
from worker.queue import QueueSettings, run_queue
from worker.queue.fake.faults import Call, Fault, Faults
from worker.queue.results.telling import Telling

PIECES = [f"piece {number} žluťoučký; " for number in range(40)]


def make_telling(poster: ScriptedPoster, *, streams: bool = True) -> Telling:
    return Telling(poster=poster, job_id="1", worker_id="w", streams=streams)


def posted(poster: ScriptedPoster) -> list[dict[str, Any]]:
    return [json.loads(body) for body in poster.bodies]


async def test_all_parts_are_posted_when_the_job_ends() -> None:
    poster = ScriptedPoster(seconds=0.01)
    telling = make_telling(poster)
    for piece in PIECES:
        await asyncio.to_thread(telling.sink.part, piece)
    await telling.end()

    assert "".join(body["output"] for body in posted(poster)) == "".join(PIECES)


async def test_progress_is_posted_as_the_sdk_does_and_not_for_each_item() -> None:
    poster = ScriptedPoster()
    telling = make_telling(poster)
    for done in range(1, 50):
        telling.sink.progress(done, 50)
        await asyncio.sleep(0.001)
    await telling.end()

    assert len(poster.bodies) == 1
    body = posted(poster)[0]
    assert body["status"] == "IN_PROGRESS"
    assert body["output"]["progress"]["total"] == 50


@pytest.mark.parametrize("steps", range(12))
async def test_a_part_that_comes_right_before_the_end_is_posted(steps: int) -> None:
    """However far its reader has come with the part before it."""
    poster = ScriptedPoster()
    telling = make_telling(poster)
    telling.sink.part("one ")
    for _ in range(steps):
        await asyncio.sleep(0)
    telling.sink.part("two")
    await telling.end()

    assert "".join(body["output"] for body in posted(poster)) == "one two"


async def test_nothing_is_posted_after_the_end() -> None:
    poster = ScriptedPoster()
    telling = make_telling(poster)
    telling.sink.part("in time")
    await telling.end()
    telling.sink.part("late")
    telling.sink.progress(1, 2)
    await asyncio.sleep(0.02)

    assert posted(poster) == [{"output": "in time"}]


async def test_a_queue_without_streams_gets_none() -> None:
    poster = ScriptedPoster()
    telling = make_telling(poster, streams=False)
    telling.sink.part("text")
    await telling.end()

    assert poster.bodies == []


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.BROKEN, Fault.UNHEARD])
async def test_the_result_comes_after_its_parts_whatever_the_queue_says_to_them(tmp_path: Path, fault: Fault) -> None:
    async def handle(job: Any, sink: Sink) -> Any:
        for piece in PIECES:
            sink.part(piece)
            await asyncio.sleep(0.002)
        return {"all": "".join(PIECES)}

    faults = Faults({Call.STREAM: [fault]})
    async with fake_queue(faults) as queue:
        settings = QueueSettings.from_env(
            {**queue.env(ping_seconds=0.1), "QUEUE_SPOOL": str(tmp_path)}, jobs_max=4, stop_seconds_max=5
        )
        running = asyncio.create_task(run_queue(handle, settings, log=EventLog()))
        await queue.ledger.submit({}, job_id="one")
        await queue.until(lambda ledger: not ledger.unanswered)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    job = queue.ledger.jobs["one"]

    assert "".join(job.parts) == "".join(PIECES)
    assert job.results == [{"output": {"all": "".join(PIECES)}}]
    events = [event.what for event in queue.ledger.events if event.what in ("stream", "done")]
    assert events[-1] == "done"
    assert events.count("done") == 1
