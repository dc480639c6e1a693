"""No door bypasses admission: each route holds before the provider is asked, or is on a short list of free ones.

What is walked is what `main.py` declares, each HTTP route behind `api`, and what the dev server serves. A new one
that is on neither list fails here.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Mount, Route

import main
from gate import parts
from gate.assembly import Hop1
from gate.bootstrap import make_hop1
from gate.callers.dev import DevSignIn
from gate.domain.job import JobState
from gate.endpoints.api.routes import Route as ApiRoute
from gate.parts import SystemClock
from gate.ports import Ledger
from gate.provider import Order, ProviderJob
from gate.providers.scripted import ScriptedProvider
from gate.settings import Settings
from tests.api.world import answer_like_the_worker
from tests.gate.doubles import fill
from tests.makers import make_documents, make_plan
from twohop.dev.app import make_app

MODEL = "all-minilm-l6-v2"
INFER = {"data": {"inputs": "a"}}
NO_JOB = {"data": {"job_id": "0" * 32}}

HOLDING: dict[str, Any] = {
    "infer": INFER,
    "submit": INFER,
    "POST /v1/embeddings": {"model": MODEL, "input": "a"},
    "POST /v1/completions": {"model": MODEL, "prompt": "a"},
    "POST /v1/chat/completions": {"model": MODEL, "messages": [{"role": "user", "content": "a"}]},
    "POST /models/{model:path}": {"inputs": "a"},
}
"""What a client may ask of the model, with a request that would be answered."""

FREE: dict[str, Any] = {
    "quota": {"data": None},  # reads what is left
    "tokens": {"data": {"action": "list"}},  # makes and unmakes credentials, of which each is bounded by a plan
    "job": NO_JOB,  # reads a document of the caller's
    "cancel": NO_JOB,  # stops what was held before
    "webhook": {},  # ends what was held before, and is told the secret address of one job
    "GET /v1/models": None,
    "GET /v1/models/{model:path}": None,
}
"""What costs no GPU time, with a request."""

SCHEDULED = {"sweep", "ladder", "reconcile", "budget"}
"""What only Google calls, by its scheduler and its Pub/Sub: they look after what was held before."""

DEV_ONLY = {"/", "/healthz", "/{project}/{region}/result", "/openapi.json", "/v1/{rest:path}", "/models/{rest:path}"}
"""The dev server's own pages, a stand-in for a bucket's signed addresses, and where it serves `api`."""


class HeldFirst(ScriptedProvider):
    """Notes how the ledger sees each job in the moment in which it is handed over."""

    def __init__(self) -> None:
        super().__init__(otherwise=answer_like_the_worker)
        self.ledger: Ledger
        self.seen: list[JobState | None] = []

    async def submit(self, order: Order, *, wait_seconds: float) -> ProviderJob:
        job = await self.ledger.job(order.job_id)
        self.seen.append(job.state if job else None)
        return await super().submit(order, wait_seconds=wait_seconds)


class House:
    """Hop 1 as `make dev` has it, in this process, with a provider that looks into the ledger."""

    def __init__(self, hop1: Hop1, provider: HeldFirst) -> None:
        self.hop1 = hop1
        self.provider = provider
        sign_in = DevSignIn(secret="d" * 64, clock=SystemClock(), deployed=False)
        self.app = make_app(hop1, sign_in, project="demo")
        headers = {"authorization": f"Bearer {sign_in.mint('alice')}"}
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://localhost", headers=headers
        )

    async def call(self, name: str, body: Any, **headers: str) -> httpx.Response:
        """Call a function by its name, or an HTTP route by its method and path."""
        method, _, path = name.rpartition(" ")
        path = path.replace("{model:path}", MODEL) if method else f"/demo/us-central1/{name}"
        return await self.http.request(method or "POST", path, json=body, headers=headers)

    @property
    def api_routes(self) -> tuple[ApiRoute, ...]:
        return self.hop1.api().routes


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    provider = HeldFirst()
    monkeypatch.setattr(parts, "open_provider", lambda *_, **__: provider)
    hop1 = make_hop1(
        Settings.from_env(
            {
                "LEDGER": "sqlite",
                "SQLITE_PATH": str(tmp_path / "ledger"),
                "SIGN_IN": "dev",
                "DEV_SIGN_IN_SECRET": "d" * 64,
                "WORKER_SECRET": "w" * 64,
                "TOKEN_SECRET": "t" * 64,
                "POLICY_SECONDS": "0",
            }
        )
    )
    provider.ledger = hop1.store
    await fill(hop1.store, make_documents())
    house = House(hop1, provider)
    yield house
    await house.http.aclose()
    await hop1.close()


def functions() -> set[str]:
    """Return what `main.py` declares."""
    return {name for name, each in vars(main).items() if inspect.iscoroutinefunction(each) and name[0] != "_"}


async def test_every_function_and_every_route_is_on_one_of_the_lists(house: House) -> None:
    """Who adds a door says here whether it spends, and then shows it below."""
    routes = {f"{route.method} {route.path}" for route in house.api_routes}
    assert functions() - {"api"} - SCHEDULED | routes == HOLDING.keys() | FREE.keys()
    assert not HOLDING.keys() & FREE.keys()


async def test_a_route_says_of_itself_what_the_lists_say(house: House) -> None:
    for route in house.api_routes:
        assert route.holds == (f"{route.method} {route.path}" in HOLDING), route.path


async def test_the_dev_server_serves_nothing_else(house: House) -> None:
    """What works on the developer's machine is what is deployed, and a page to look at it."""
    served = {route.path for route in house.app.routes if isinstance(route, Route)}
    deployed = {f"/{{project}}/{{region}}/{name}" for name in functions() - {"api"} - SCHEDULED}
    mounted = [route for route in house.app.routes if isinstance(route, Mount)]
    assert served == deployed | DEV_ONLY
    assert len(mounted) == 1  # the sign-in


@pytest.mark.parametrize("name", HOLDING)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_it_holds_before_the_provider_is_asked(house: House, name: str, accept: str) -> None:
    """Law 1 and law 2, at each door and for each way of answering."""
    response = await house.call(name, HOLDING[name], accept=accept)

    assert response.status_code == 200, response.text
    assert house.provider.seen == [JobState.HELD]
    assert (await house.hop1.store.counters("usage/alice"))["rate_tat_us",]


@pytest.mark.parametrize("name", HOLDING)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_caller_without_a_quota_reaches_no_provider(house: House, name: str, accept: str) -> None:
    await fill(house.hop1.store, make_documents(make_plan(requests_per_day=0)))

    response = await house.call(name, HOLDING[name], accept=accept)

    assert "RESOURCE_EXHAUSTED" in response.text or response.status_code == 429
    assert house.provider.orders == []


@pytest.mark.parametrize("name", [*HOLDING, *(FREE.keys() - {"webhook"})])
async def test_a_stranger_reaches_neither_provider_nor_ledger(house: House, name: str) -> None:
    """Verify first. The webhook's own tests show what stands in the place of a sign-in there."""
    body = {**HOLDING, **FREE}[name]
    response = await house.call(name, body, authorization="Bearer nobody")

    assert response.status_code == 401
    assert house.provider.orders == []
    assert await house.hop1.store.jobs() == []


@pytest.mark.parametrize("name", FREE)
async def test_what_is_free_runs_nothing(house: House, name: str) -> None:
    response = await house.call(name, FREE[name])

    assert response.status_code in (200, 404), response.text
    assert house.provider.orders == []
    assert await house.hop1.store.jobs() == []
