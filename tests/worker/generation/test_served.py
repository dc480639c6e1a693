"""A model that writes behind every front: real processes, its texts as they come, and the whole at the end."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gate import wire
from tests.worker.generation.makers import make_decoder
from tests.worker.makers import SECRET, make_request
from tests.worker.processes import WORKER, running
from tests.worker.queue import workers
from twohop.loopback import free_port

NAME = "tiny-llama"
PROMPT = "once upon"
PARAMETERS = {"max_new_tokens": 30}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_decoder(tmp_path_factory.mktemp("models") / NAME, "Llama"))


def signed(inputs: Any = PROMPT) -> Any:
    body = wire.WorkBody(model=NAME, inputs=inputs, parameters=PARAMETERS, stream=True).encode()
    return make_request(now_ms=time.time_ns() // 1_000_000, body=body)


def text_of(result: dict[str, Any]) -> str:
    assert result["usage"]["tokens"] > PARAMETERS["max_new_tokens"]
    text: str = result["outputs"][0]["generated_text"]
    return text


def test_the_http_server_streams_what_it_writes(model: str) -> None:
    with running("server.py", MODEL=model) as worker:
        url = f"http://127.0.0.1:{worker.event('worker.listening')['port']}/infer"
        worker.event("worker.ready")
        request, events = signed(), []
        stream = httpx.stream("POST", url, content=request.body, headers=request.to_headers(), timeout=60)
        with stream as response:
            for line in response.iter_lines():
                name, _, value = line.partition(": ")
                if name == "data":
                    events.append(json.loads(value))
        refused = signed(["one", "two"])
        answer = httpx.post(url, content=refused.body, headers=refused.to_headers(), timeout=60)
        metrics = httpx.get(url.replace("/infer", "/metrics"), timeout=60).text
        assert worker.stop() == 0
    *parts, result = events

    assert len(parts) > 1
    assert "".join(part["text"] for part in parts) == text_of(result)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid-argument")
    assert 'twohop_worker_jobs_total{outcome="ok"} 1.0' in metrics


async def test_runpods_queue_gets_the_parts_and_then_the_result(model: str, tmp_path: Path) -> None:
    env = {"WORKER_SECRET": SECRET, "HF_HUB_OFFLINE": "1", "QUEUE_SPOOL": str(tmp_path), "MODEL": model}
    async with workers.fake_queue() as queue, workers.running(queue, str(WORKER / "handler.py"), **env) as worker:
        await queue.ledger.submit(signed().to_envelope(), job_id="one")
        await queue.until(lambda ledger: not ledger.unanswered, seconds_max=90)
        worker.signal(signal.SIGTERM)
        assert await worker.ended(seconds_max=30) == 0
    job = queue.ledger.jobs["one"]

    assert job.parts
    assert "".join(job.parts) == text_of(job.results[0]["output"]["result"])


def test_runpods_own_package_streams_the_same(model: str) -> None:
    port = free_port()
    arguments = ("--rp_serve_api", "--rp_api_port", str(port), "--rp_api_host", "127.0.0.1")
    with running("handler.py", *arguments, MODEL=model) as worker:
        worker.event("worker.ready")
        worker.wait_for("Uvicorn running")
        url = f"http://127.0.0.1:{port}"
        whole = httpx.post(f"{url}/runsync", json={"input": signed().to_envelope()}, timeout=60).json()
        job_id = httpx.post(f"{url}/run", json={"input": signed().to_envelope()}, timeout=60).json()["id"]
        streamed = httpx.post(f"{url}/stream/{job_id}", timeout=60).json()
    *texts, last = [part["output"] for part in streamed["stream"]]

    assert "".join(texts) == text_of(last["result"])
    assert whole["output"][-1]["result"]["outputs"] == last["result"]["outputs"]
