"""`python gpu_worker/server.py` as a host runs it: a real process, the real model, real signals."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gate import wire
from tests.worker.makers import make_request
from tests.worker.processes import Entry, running

MINILM = "all-minilm-l6-v2"


RUBBISH = {
    "ten megabytes": b'{"model":"all-minilm-l6-v2","inputs":"' + b"word " * 2_000_000 + b'","parameters":{}}',
    "half a surrogate pair": rb'{"model":"all-minilm-l6-v2","inputs":"\ud800","parameters":{}}',
    "NUL": rb'{"model":"all-minilm-l6-v2","inputs":["a","\u0000"],"parameters":{}}',
    "no JSON": b"\xff",
}


def send(port: int, inputs: Any, **changes: Any) -> httpx.Response:
    request = make_request(inputs, model=MINILM, now_ms=time.time_ns() // 1_000_000, **changes)
    return httpx.post(
        f"http://127.0.0.1:{port}/infer", content=request.body, headers=request.to_headers(), timeout=60
    )


def status(port: int, path: str) -> int:
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=60).status_code


@pytest.mark.model
def test_a_worker_lives_from_its_start_to_a_graceful_end() -> None:
    """It listens before it is ready, answers, and on SIGTERM finishes what it took and takes no more."""
    with running("server.py", STOP_SECONDS_MAX="60") as worker:
        port = worker.event("worker.listening")["port"]
        assert (status(port, "/healthz"), status(port, "/readyz")) == (200, 503)
        start_ms = worker.event("worker.ready")["start_ms"]
        first, second = send(port, "hello"), send(port, ["hello", "world"])
        assert (len(first.json()["outputs"]), len(second.json()["outputs"])) == (384, 2)
        assert [answer.json()["usage"]["start_ms"] for answer in (first, second)] == [start_ms, 0]
        assert [send(port, None, body=body).status_code for body in RUBBISH.values()] == [422] * len(RUBBISH)
        assert status(port, "/readyz") == 200
        assert_finishes_what_it_took(worker, port)


def test_what_is_no_http_is_refused_and_told_as_an_event() -> None:
    """Anybody who reaches the port can send it, and a log of two shapes is read by no tool."""
    with running("server.py") as worker:
        port = worker.event("worker.listening")["port"]
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(b"\x16\x03\x01\r\n\r\n")
            assert stranger.recv(64).startswith(b"HTTP/1.1 400")
        told = worker.event("http.server")

    assert (told["severity"], told["reason"]) == ("WARNING", "Invalid HTTP request received.")


def assert_finishes_what_it_took(worker: Entry, port: int) -> None:
    answers: list[httpx.Response] = []
    long = threading.Thread(target=lambda: answers.append(send(port, ["many words " * 30] * 100)))
    for _ in range(2 + len(RUBBISH)):
        worker.event("job.done")
    long.start()
    worker.event("job.admitted")
    worker.process.terminate()
    worker.event("worker.stopping")
    alive, ready, refused = status(port, "/healthz"), status(port, "/readyz"), send(port, "too late")
    long.join(60)

    assert (alive, ready, refused.status_code) == (200, 503, 503)
    assert wire.WorkResult.from_json(refused.json()).failure is not None
    assert len(answers[0].json()["outputs"]) == 100
    assert worker.process.wait(30) == 0


def test_a_worker_that_is_still_loading_stops_at_once() -> None:
    with running("server.py") as worker:
        worker.event("worker.listening")

        assert worker.stop() == 0


def test_a_model_that_cannot_be_loaded_ends_the_worker() -> None:
    """A worker that is never ready would be billed until somebody looks."""
    with running("server.py", MODEL="./no-such-model") as worker:
        failed = worker.event("worker.start_failed")

        assert "no such folder" in failed["reason"]
        assert "traceback" not in failed, "it would hide the reason, and shows only frames of ours"
        assert worker.process.wait(30) == 1


def test_code_that_cannot_be_imported_ends_the_worker_with_its_own_traceback(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import nothing_of_this_name\n")
    with running("server.py", CODE=str(tmp_path / "mine.py")) as worker:
        failed = worker.event("worker.start_failed")

    assert failed["reason"].startswith("CODE=mine.py cannot be imported: ModuleNotFoundError")
    assert 'mine.py", line 1' in failed["traceback"]
    assert "service.py" not in failed["traceback"]


def test_a_port_that_is_taken_ends_the_worker() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        running("server.py", PORT=str(taken.getsockname()[1])) as worker,
    ):
        worker.wait_for("address already in use")

        assert worker.process.wait(60) != 0
