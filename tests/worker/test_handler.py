"""RunPod's entry: every answer arrives as the job's output, the refusals too."""

from __future__ import annotations

import socket
import time
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate import wire
from handler import make_handler
from tests.worker.makers import FOREIGN_SECRET, Bench, make_request
from tests.worker.processes import running

MINILM = "all-minilm-l6-v2"


async def test_a_signed_job_is_answered_inside_result() -> None:
    output = await make_handler(Bench().service)({"id": "1", "input": make_request("hello").to_envelope()})

    assert list(output) == ["result"]
    assert wire.WorkResult.from_json(output["result"]).outputs == "hello"


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


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@pytest.mark.model
def test_it_runs_under_runpods_own_local_server() -> None:
    """The SDK's own code takes the job, calls the handler and gives the answer back."""
    port = _free_port()
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
