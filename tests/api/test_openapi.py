"""The OpenAPI document and the routes say the same: schemathesis tries to find where they do not."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from gate.domain.plan import TOKEN_SECONDS_MOST
from gate.endpoints.api.openapi import openapi_document
from gate.errors import GateError
from tests.api.world import ApiWorld, api_world, listening
from twohop.loopback import free_port

_EXAMPLES = 20
"""Of each operation and mode, in the suite. A thousand were tried when the routes were made."""
_QUIET = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


class Served:
    """The routes on a port, in a thread of their own: schemathesis calls them as any client does."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._folder = folder
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with api_world(self._folder) as world, listening(world, self._port):
            await world.plan(token_seconds_max=TOKEN_SECONDS_MOST)
            self._ready.set()
            await self._stop.wait()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("openapi"))
    served.start()
    yield served
    served.stop()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_schemathesis_finds_nothing(served: Served, mode: GenerationMode) -> None:
    """No server error, no status, header, type or shape that is not described, and no auth that is ignored."""
    schema: Any = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 12

    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue

        @_QUIET
        @given(operation.as_strategy(generation_mode=mode))
        def answers_as_described(case: Any) -> None:
            case.call_and_validate(base_url=served.url, headers={"Authorization": "Bearer alice"})

        answers_as_described()


def test_every_route_is_described(world: ApiWorld) -> None:
    """And nothing that is not there."""
    document = json.loads(openapi_document(world.api.routes, callables_url="/"))

    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item if method != "servers"
    }
    callables = {("POST", f"/{name}") for name in ("infer", "submit", "job", "cancel", "quota", "tokens")}
    assert described == callables | {(route.method, route.path.replace(":path", "")) for route in world.api.routes}


def test_every_error_that_there_is_has_its_status_described(world: ApiWorld) -> None:
    """A class that is added to the tree is in the document by itself."""
    document = json.loads(openapi_document(world.api.routes, callables_url="/"))

    statuses: set[str] = set()
    waiting: list[type[GateError]] = [GateError]
    while waiting:
        kind = waiting.pop()
        statuses.add(str(kind.http_status))
        waiting += kind.__subclasses__()
    for item in document["paths"].values():
        for method, operation in item.items():
            if method != "servers":
                assert set(operation["responses"]) == statuses | {"200"}
