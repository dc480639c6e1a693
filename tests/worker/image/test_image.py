"""The worker's image: really built, and its worker really asked."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.worker.image.building import Builder, require_tools
from tests.worker.makers import SECRET, make_request
from tests.worker.processes import Entry

MODEL = "all-minilm-l6-v2"
LEFT_OUT = ("functions/main.py", "functions/gate/service.py", "gpu_worker/bench", "gpu_worker/fake_queue.py", "tests")


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[Builder]:
    """An empty store. Some gigabytes that nobody looks for afterwards."""
    require_tools()
    yield Builder(tmp_path)
    subprocess.run(["rm", "-rf", str(tmp_path / "store"), str(tmp_path / "run")], check=False)


@pytest.mark.model
@pytest.mark.timeout(900)
def test_the_image_is_built_and_its_worker_answers_who_signs(builder: Builder) -> None:
    """The Dockerfile as it is: its weights are baked, and its user is nobody in particular."""
    builder.make_base()
    config = builder.build()
    with builder.container() as container:
        left_out = [name for name in LEFT_OUT if (container.root / "app" / name).exists()]
        process = container.start(config["Cmd"], ENTRY="server.py", HOST="127.0.0.1", PORT="0", WORKER_SECRET=SECRET)
        try:
            worker = Entry(process)
            url = f"http://127.0.0.1:{worker.event('worker.listening')['port']}/infer"
            worker.event("worker.ready")
            request = make_request("hello", model=MODEL, now_ms=time.time_ns() // 1_000_000)
            answer = httpx.post(url, content=request.body, headers=request.to_headers(), timeout=60)
            again = httpx.post(url, content=request.body, headers=request.to_headers(), timeout=60)
            unsigned = httpx.post(url, content=request.body, timeout=60)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    assert len(answer.json()["outputs"]) == 384
    assert (again.status_code, unsigned.status_code) == (409, 401)
    assert left_out == []
    assert config["User"] == "10001"
    assert not any(name.split("=")[0].endswith("SECRET") for name in config["Env"])
