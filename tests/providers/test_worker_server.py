"""The container and local adapters against the real worker's HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from gate.errors import ProviderRejectedError
from gate.provider import ProviderState
from gate.providers.container import ContainerProvider
from gate.providers.local import LocalProvider
from tests.providers.hosts import SECRET
from tests.providers.processes import ROOT, need_worker, running
from tests.providers.test_runpod_server import order_of
from twohop.loopback import free_port

pytestmark = pytest.mark.model

MODEL = "all-minilm-l6-v2"


class _Now:
    def now(self) -> datetime:
        return datetime.now(UTC)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a worker that has not even begun to listen."""
    need_worker()
    port, log = free_port(), tmp_path_factory.mktemp("worker") / "server.log"
    env = {"HOST": "127.0.0.1", "PORT": str(port), "WORKER_SECRET": SECRET.decode()}
    with running(ROOT / "gpu_worker" / "server.py", log=log, **env):
        yield f"http://127.0.0.1:{port}"


async def local_run(url: str, inputs: Any) -> Any:
    provider = LocalProvider(url=url, worker_secret=SECRET, clock=_Now())
    try:
        return await provider.submit(order_of(inputs, model=MODEL), wait_seconds=60)
    finally:
        await provider.close()


async def test_the_first_job_waits_for_a_worker_that_is_starting(url: str) -> None:
    job = await local_run(url, ["a text"])

    assert job.state is ProviderState.COMPLETED, job
    assert len(job.outputs[0]) == 384
    assert job.usage.start_ms > 0


async def test_a_later_job_is_charged_no_start(url: str) -> None:
    await local_run(url, ["a text"])
    job = await local_run(url, ["a text"])

    assert (job.state, job.usage.start_ms) == (ProviderState.COMPLETED, 0)


async def test_a_container_answers_the_same(url: str) -> None:
    await local_run(url, ["a text"])
    provider = ContainerProvider(url=f"{url}/infer", worker_secret=SECRET, clock=_Now())
    jobs = await asyncio.gather(
        *(provider.submit(order_of([f"text {n}"], model=MODEL), wait_seconds=60) for n in range(20))
    )
    health = await provider.health()
    await provider.close()

    assert {job.state for job in jobs} == {ProviderState.COMPLETED}
    assert health.ready


async def test_bad_input_is_a_failed_job(url: str) -> None:
    job = await local_run(url, {"no": "text"})

    assert (job.state, job.failure_code) == (ProviderState.FAILED, "invalid-argument")
    assert job.failure_message


async def test_another_secret_is_a_rejection(url: str) -> None:
    await local_run(url, ["a text"])
    provider = ContainerProvider(url=f"{url}/infer", worker_secret=b"x" * 32, clock=_Now())

    with pytest.raises(ProviderRejectedError, match="WORKER_SECRET"):
        await provider.submit(order_of(["a text"], model=MODEL), wait_seconds=60)
    await provider.close()
