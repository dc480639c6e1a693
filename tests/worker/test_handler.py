"""RunPod's entry: every answer arrives as the job's output, the refusals too."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate import wire
from handler import _is_sdk, make_handler, make_stream_handler
from tests.worker.makers import FOREIGN_SECRET, SECRET, Bench, make_request
from tests.worker.processes import WORKER, running
from tests.worker.queue import workers
from twohop.loopback import free_port
from worker.errors import SettingsError

MINILM = "all-minilm-l6-v2"


async def test_a_signed_job_is_answered_inside_result() -> None:
    output = await make_handler(Bench().service)({"id": "1", "input": make_request("hello").to_envelope()})

    assert list(output) == ["result"]
    assert wire.WorkResult.from_json(output["result"]).outputs == "hello"


class _TwoParts:
    """A service that writes two parts, the second one some turns of the loop after the first."""

    def __init__(self, turns: int) -> None:
        self._turns = turns

    def admit(self, request: wire.SignedRequest) -> None:
        pass

    async def answer(self, _: wire.SignedRequest, sink: Any) -> wire.WorkResult:
        sink.part("one ")
        for _turn in range(self._turns):
            await asyncio.sleep(0)
        sink.part("two")
        await asyncio.sleep(0)
        return wire.WorkResult(outputs="one two")


@pytest.mark.parametrize("turns", range(8))
async def test_a_stream_for_runpods_package_has_all_that_was_written(turns: int) -> None:
    """Also what came while the part before it was being sent."""
    service: Any = _TwoParts(turns)
    streamed = []
    async for part in make_stream_handler(service)({"id": "1", "input": make_request().to_envelope()}):
        streamed.append(part)
        for _ in range(10):
            await asyncio.sleep(0)

    assert "".join(streamed[:-1]) == "one two"
    assert wire.WorkResult.from_json(streamed[-1]["result"]).outputs == "one two"


async def test_a_job_that_waited_too_long_in_the_queue_is_not_run() -> None:
    """The queue's time counts: the envelope carries the expiry."""
    bench, envelope = Bench(), make_request(valid_ms=10_000).to_envelope()
    bench.clock.ms = 10_000
    output = await make_handler(bench.service)({"id": "1", "input": envelope})

    assert output["result"]["error"]["code"] == "unauthenticated"
    assert bench.engine.ran == []


async def test_a_job_that_comes_twice_runs_once() -> None:
    bench, job = Bench(), {"id": "1", "input": make_request().to_envelope()}
    handle = make_handler(bench.service)
    await handle(job)

    assert (await handle(job))["result"]["error"]["code"] == "already-exists"
    assert len(bench.engine.ran) == 1


async def test_a_crash_does_not_reach_the_sdk() -> None:
    """It would put the traceback into what the caller gets."""
    output = await make_handler(Bench().service)({"id": "1", "input": make_request("crash").to_envelope()})

    assert output["result"]["error"] == {"code": "internal", "message": "the worker failed on this job"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
async def test_rubbish_is_refused(rubbish: Any) -> None:
    output = await make_handler(Bench(loaded=False).service)({"id": "1", "input": rubbish})

    assert output["result"]["error"]["code"] == "unauthenticated"


@pytest.mark.model
def test_it_runs_under_runpods_own_local_server() -> None:
    """The SDK's own code takes the job, calls the handler and gives the answer back."""
    port = free_port()
    with running("handler.py", "--rp_serve_api", "--rp_api_port", str(port), "--rp_api_host", "127.0.0.1") as worker:
        start_ms = worker.event("worker.ready")["start_ms"]
        worker.wait_for("Uvicorn running")
        good = _runsync(port, "a private text")
        wrong = _runsync(port, {"no": "text"})
        foreign = _runsync(port, "hello", secret=FOREIGN_SECRET)
        worker.stop()
        said = "".join(worker.lines) + (worker.process.stdout.read() if worker.process.stdout else "")

    assert len(good["outputs"]) == 384
    assert good["usage"]["start_ms"] == start_ms
    assert wrong["error"]["code"] == "invalid-argument"
    assert "not an object" in wrong["error"]["message"]
    assert foreign == {"error": foreign["error"], "usage": None}
    assert foreign["error"]["code"] == "unauthenticated"
    assert "private" not in said


def _runsync(port: int, inputs: Any, **changes: Any) -> dict[str, Any]:
    request = make_request(inputs, model=MINILM, now_ms=time.time_ns() // 1_000_000, **changes)
    answer = httpx.post(f"http://127.0.0.1:{port}/runsync", json={"input": request.to_envelope()}, timeout=60).json()
    assert answer["status"] == "COMPLETED"
    result: dict[str, Any] = answer["output"]["result"]
    return result


@pytest.mark.model
@pytest.mark.parametrize("loop", ["own", "sdk"])
async def test_it_runs_under_either_loop(loop: str, tmp_path: Path) -> None:
    """From its start to its graceful end, with the real model, at the addresses that RunPod sets."""
    env = {"WORKER_SECRET": SECRET, "HF_HUB_OFFLINE": "1", "QUEUE_SPOOL": str(tmp_path), "RUNPOD_LOOP": loop}
    async with (
        workers.fake_queue(poll_seconds=3) as queue,
        workers.running(queue, str(WORKER / "handler.py"), **env) as worker,
    ):
        for job_id, secret in {"good": SECRET, "foreign": FOREIGN_SECRET}.items():
            now_ms = time.time_ns() // 1_000_000
            request = make_request("a private text", model=MINILM, now_ms=now_ms, secret=secret)
            await queue.ledger.submit(request.to_envelope(), job_id=job_id)
        await queue.until(lambda ledger: not ledger.unanswered, seconds_max=90)
        worker.signal(signal.SIGTERM)
        code = await worker.ended(seconds_max=30)

    results = {job_id: job.results[0]["output"]["result"] for job_id, job in queue.ledger.jobs.items()}
    assert code == 0
    assert len(results["good"]["outputs"]) == 384
    assert results["good"]["usage"]["start_ms"] > 0
    assert results["foreign"]["error"]["code"] == "unauthenticated"
    assert all(len(job.results) == 1 for job in queue.ledger.jobs.values())
    assert queue.ledger.count("hung up") == (1 if loop == "own" else 0)


@pytest.mark.model
async def test_a_job_that_cannot_be_finished_is_answered_as_unavailable(tmp_path: Path) -> None:
    """The gate knows then that another try may do."""
    env = {"WORKER_SECRET": SECRET, "HF_HUB_OFFLINE": "1", "QUEUE_SPOOL": str(tmp_path), "STOP_SECONDS_MAX": "0"}
    async with workers.fake_queue() as queue, workers.running(queue, str(WORKER / "handler.py"), **env) as worker:
        request = make_request(["many words " * 200] * 2_000, model=MINILM, now_ms=time.time_ns() // 1_000_000)
        await queue.until(lambda ledger: ledger.count("polled") > 0, seconds_max=90)
        await queue.ledger.submit(request.to_envelope(), job_id="long")
        await queue.until(lambda ledger: ledger.count("delivered") > 0)
        worker.signal(signal.SIGTERM)

        assert await worker.ended(seconds_max=30) == 1
        assert queue.ledger.jobs["long"].results[0]["output"]["result"]["error"]["code"] == "unavailable"


@pytest.mark.parametrize(
    ("env", "arguments", "is_sdk"),
    [
        ({}, [], True),
        ({"RUNPOD_WEBHOOK_GET_JOB": "http://queue/"}, [], False),
        ({"RUNPOD_WEBHOOK_GET_JOB": "http://queue/", "RUNPOD_LOOP": "sdk"}, [], True),
        ({"RUNPOD_LOOP": "own"}, [], False),
        ({"RUNPOD_WEBHOOK_GET_JOB": "http://queue/"}, ["--rp_serve_api"], True),
        ({"RUNPOD_LOOP": "own"}, ["--test_input={}"], True),
    ],
    ids=["no queue", "a queue", "told sdk", "told own", "local server", "one input"],
)
def test_its_own_loop_serves_wherever_there_is_a_queue(
    env: dict[str, str], arguments: list[str], is_sdk: bool
) -> None:
    assert _is_sdk(env, ["handler.py", *arguments]) is is_sdk


def test_a_loop_of_another_name_is_refused() -> None:
    with pytest.raises(SettingsError, match="RUNPOD_LOOP"):
        _is_sdk({"RUNPOD_LOOP": "theirs"}, [])


def test_it_imports_nothing_that_takes_long() -> None:
    """A start is billed; the model's libraries come when the model is loaded, RunPod's never."""
    heavy = "{'torch', 'transformers', 'numpy', 'runpod', 'httpx', 'starlette', 'pydantic', 'aiohttp', 'requests'}"
    run = subprocess.run(
        [sys.executable, "-c", f"import handler, sys; print({heavy} & set(sys.modules))"],
        cwd=WORKER,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.stdout.strip() == "set()"
