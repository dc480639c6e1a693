"""The worker on this machine is waited for while it starts, and is nowhere else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from gate.errors import ProviderUnavailableError, SettingsError
from gate.provider import ProviderState
from gate.providers.local import LocalProvider
from tests.makers import NOON, FakeClock
from tests.providers.hosts import SECRET, Sleeper, WorkerDouble, make_order

STARTING = httpx.Response(503, json={"error": {"code": "unavailable", "message": "starting"}})
READY = httpx.Response(200, json={"status": "ready"})
DONE = httpx.Response(200, json={"outputs": "hi"})


def make_provider(host: WorkerDouble, sleeper: Sleeper, **options: Any) -> LocalProvider:
    given = {"url": "http://127.0.0.1:8000", "worker_secret": SECRET, "exchanges": host.exchanges}
    return LocalProvider(clock=sleeper.clock, sleep=sleeper, **{**given, **options})


@pytest.mark.parametrize(
    "start",
    [
        [httpx.ConnectError("refused"), httpx.ConnectError("refused"), STARTING, READY, DONE],
        [STARTING, STARTING, STARTING, READY, DONE],
        [httpx.ConnectError("refused"), READY, STARTING, READY, DONE],
        [httpx.ConnectError("refused"), httpx.ReadTimeout("busy loading"), READY, DONE],
    ],
    ids=["not-there", "loading", "ready-and-then-not", "too-busy-to-say"],
)
async def test_a_worker_that_is_still_starting_is_waited_for(start: list[Any]) -> None:
    """`make dev` starts both hops at once, and the first call should not fail for that."""
    host, sleeper = WorkerDouble(), Sleeper(FakeClock())
    host.script(*start)

    job = await make_provider(host, sleeper).submit(make_order(), wait_seconds=0)

    assert (job.state, job.outputs) == (ProviderState.COMPLETED, "hi")
    paths = [request.url.path for request in host.requests]
    assert paths[0] == paths[-1] == "/infer"
    assert "/readyz" in paths


async def test_it_is_waited_for_until_the_order_expires_and_no_longer() -> None:
    host, sleeper = WorkerDouble(), Sleeper(FakeClock())
    host.is_away()

    with pytest.raises(ProviderUnavailableError, match="is the worker running"):
        await make_provider(host, sleeper).submit(make_order(expires_at=NOON + timedelta(seconds=10)), wait_seconds=0)
    assert sum(sleeper.pauses) == pytest.approx(10)
    assert all(request.url.path == "/readyz" for request in host.requests[1:])


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://127.0.0.1:8000", "/infer"),
        ("http://127.0.0.1:8000/", "/infer"),
        ("http://localhost:8000/infer", "/infer"),
        ("http://[::1]:8000/other", "/other"),
    ],
)
async def test_an_address_without_a_path_means_the_workers_own(url: str, path: str) -> None:
    host = WorkerDouble()
    host.script(DONE)
    await make_provider(host, Sleeper(FakeClock()), url=url).submit(make_order(), wait_seconds=0)

    assert host.requests[0].url.path == path


@pytest.mark.parametrize(
    "url", ["https://model.host.example/infer", "http://10.0.0.7:8000", "http://0.0.0.0:8000", "", "127.0.0.1:8000"]
)
def test_an_address_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="LOCAL_WORKER_URL"):
        make_provider(WorkerDouble(), Sleeper(FakeClock()), url=url)
