"""The RunPod adapter against the local server that RunPod's own package ships.

That server differs from production, as read in runpod 1.12.0 (`rp_fastapi.py`) and bridged by `_AsInProduction`:

- its routes have no `/v2/{endpoint}` before them, and it asks for no key;
- `/status` takes POST where production takes GET;
- there is no `/cancel` and no `/health`: both are 404;
- `/run` keeps the job and says IN_PROGRESS; it is run within the first `/status`, and forgotten after it;
- `/status` of an unknown job is FAILED with 200 where production says 404;
- `wait`, `policy`, `executionTime` and `delayTime` do not exist, so a finished job tells no usage.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from gate import wire
from gate.errors import ProviderRejectedError
from gate.over_httpx import OverHttpx
from gate.provider import Order, ProviderJob, ProviderState
from gate.providers.runpod import RunPodProvider
from tests.providers.hosts import API_KEY, ENDPOINT, SECRET, make_order
from tests.providers.processes import ROOT, need_worker, running, wait_for
from twohop.loopback import free_port


class _Now:
    def now(self) -> datetime:
        return datetime.now(UTC)


class _AsInProduction(httpx.AsyncHTTPTransport):
    """Lets the local server look like production where the two differ in form only."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().removeprefix(f"/{ENDPOINT}")
        request.url = request.url.copy_with(raw_path=path.encode())
        if path.startswith("/status/"):
            request.method = "POST"
        return await super().handle_async_request(request)


def make_provider(port: int) -> RunPodProvider:
    return RunPodProvider(
        endpoint_id=ENDPOINT,
        api_key=API_KEY,
        worker_secret=SECRET,
        clock=_Now(),
        base_url=f"http://127.0.0.1:{port}",
        exchanges=OverHttpx(_AsInProduction()),
    )


def order_of(inputs: Any, *, model: str = "m", seconds: float = 60) -> Order:
    body = wire.WorkBody(model=model, inputs=inputs, parameters={}).encode()
    return make_order(body=body, expires_at=datetime.now(UTC) + timedelta(seconds=seconds))


def serve(script: Path, folder: Path) -> Iterator[int]:
    port, log = free_port(), folder / "server.log"
    arguments = ("--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", str(port))
    with running(script, *arguments, log=log, WORKER_SECRET=SECRET.decode()) as process:
        wait_for(f"http://127.0.0.1:{port}/", process, log=log)
        yield port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    yield from serve(Path(__file__).with_name("tiny_handler.py"), tmp_path_factory.mktemp("runpod"))


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    need_worker()
    yield from serve(ROOT / "gpu_worker" / "handler.py", tmp_path_factory.mktemp("worker"))


async def run(port: int, order: Order, *, wait_seconds: float) -> ProviderJob:
    provider = make_provider(port)
    try:
        job = await provider.submit(order, wait_seconds=wait_seconds)
        return job if job.state.final else await provider.status(job.provider_job_id)
    finally:
        await provider.close()


@pytest.mark.parametrize("wait_seconds", [0, 30], ids=["run", "runsync"])
async def test_a_signed_job_comes_back_with_its_outputs(server: int, wait_seconds: float) -> None:
    job = await run(server, order_of("žluťoučký kůň 🐎"), wait_seconds=wait_seconds)

    assert (job.state, job.outputs) == (ProviderState.COMPLETED, "žluťoučký kůň 🐎")
    assert job.usage is None


@pytest.mark.parametrize("wait_seconds", [0, 30], ids=["run", "runsync"])
async def test_bad_input_is_a_failed_job(server: int, wait_seconds: float) -> None:
    job = await run(server, order_of("bad"), wait_seconds=wait_seconds)

    assert (job.state, job.failure_code, job.failure_message) == (ProviderState.FAILED, "invalid-argument", "no")


@pytest.mark.parametrize("wait_seconds", [0, 30], ids=["run", "runsync"])
async def test_a_crash_is_a_failed_job_that_tells_no_more(server: int, wait_seconds: float) -> None:
    """RunPod's SDK sends the traceback along."""
    job = await run(server, order_of("crash"), wait_seconds=wait_seconds)

    assert (job.state, job.failure_code, job.failure_message) == (ProviderState.FAILED, None, None)


async def test_what_the_local_server_does_not_have_is_an_error_or_silent(server: int) -> None:
    provider = make_provider(server)
    await provider.cancel("unknown")

    with pytest.raises(ProviderRejectedError):
        await provider.health()
    await provider.close()


@pytest.mark.model
@pytest.mark.parametrize("wait_seconds", [0, 60], ids=["run", "runsync"])
async def test_the_real_worker_embeds_a_text_behind_runpods_sdk(worker: int, wait_seconds: float) -> None:
    order = order_of(["a text"], model="all-minilm-l6-v2")
    job = await run(worker, order, wait_seconds=wait_seconds)

    assert job.state is ProviderState.COMPLETED, job
    assert len(job.outputs[0]) == 384


@pytest.mark.model
async def test_the_real_worker_refuses_input_behind_runpods_sdk(worker: int) -> None:
    job = await run(worker, order_of({"no": "text"}, model="all-minilm-l6-v2"), wait_seconds=60)

    assert (job.state, job.failure_code) == (ProviderState.FAILED, "invalid-argument")
    assert job.failure_message


@pytest.mark.model
async def test_the_real_worker_runs_nothing_that_is_not_signed_by_us(worker: int) -> None:
    provider = RunPodProvider(
        endpoint_id=ENDPOINT,
        api_key=API_KEY,
        worker_secret=b"another secret that is long enough",
        clock=_Now(),
        base_url=f"http://127.0.0.1:{worker}",
        exchanges=OverHttpx(_AsInProduction()),
    )
    job = await provider.submit(order_of(["a text"], model="all-minilm-l6-v2"), wait_seconds=60)
    await provider.close()

    assert (job.state, job.failure_code) == (ProviderState.FAILED, "unauthenticated")
