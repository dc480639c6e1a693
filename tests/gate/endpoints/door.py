"""A callable's door around a handler that remembers who called, and what its answers must look like."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
from msgspec.json import Decoder

from gate.domain.plan import Cohort
from gate.domain.request import InferRequest, check_size
from gate.endpoints.callable import Call, CallableDoor, Envelope
from gate.endpoints.cors import Origins
from gate.errors import UnauthenticatedError
from gate.ports import Caller, Credentials
from tests.gate.doubles import WatchedLog
from tests.makers import GENEROUS

APP, EXTENSION, ELSEWHERE = "https://app.example.com", "chrome-extension://abcdefghijklmnop", "https://evil.example"
EVENT_STREAM = {"accept": "text/event-stream"}
GOOD: dict[str, Any] = {"data": {"inputs": "hello"}}

ALICE = Caller(uid="alice", cohort=Cohort.VERIFIED)
Handler = Callable[[Caller, InferRequest], Awaitable[dict[str, Any]]]


class Door:
    """A door around a handler that remembers who called."""

    def __init__(self, answer: dict[str, Any] | Exception | Handler | None = None, **options: Any) -> None:
        self.calls: list[tuple[Caller, InferRequest]] = []
        self.asked: list[Credentials] = []
        self.log = WatchedLog()
        self._answer = {"outputs": 1} if answer is None else answer
        origins = Origins((APP, EXTENSION), allow_loopback=options.get("allow_loopback", False))
        app = CallableDoor(
            self._handle, Decoder(Envelope[InferRequest]), verifier=self, origins=origins, log=self.log
        )
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hop1")

    async def verify(self, credentials: Credentials) -> Caller:
        """Believe everybody but strangers, and remember what they brought."""
        self.asked.append(credentials)
        if credentials.bearer == "stranger":
            raise UnauthenticatedError("a stranger")
        return ALICE

    async def _handle(self, call: Call[InferRequest]) -> dict[str, Any]:
        self.calls.append((call.caller, call.payload))
        if isinstance(self._answer, Exception):
            raise self._answer
        if callable(self._answer):
            return await self._answer(call.caller, call.payload)
        return self._answer

    async def post(
        self, body: Any = GOOD, *, content: Any = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        sent = json.dumps(body).encode() if content is None else content
        return await self._client.post(
            "/", content=sent, headers={"content-type": "application/json", **(headers or {})}
        )

    async def request(self, method: str, **options: Any) -> httpx.Response:
        return await self._client.request(method, "/", **options)


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Return the one error of an answer, whose shape is the protocol's."""
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"status", "message", "details"}
    return error


async def as_the_gate_does(_: Caller, request: InferRequest) -> dict[str, Any]:
    """Read and measure a request as the service does before it spends anything."""
    body = request.body("m")
    check_size(request, body, GENEROUS)
    return {"bytes": len(body)}


def event_of(response: httpx.Response) -> dict[str, Any]:
    """Return the one event of an answer, by the JS SDK's own rule: a line that begins with `data: `."""
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    text = response.content.decode()
    assert text.startswith("data: ")
    assert text.endswith("\n\n")
    assert text.count("\n") == 2
    event: dict[str, Any] = json.loads(text.removeprefix("data: "))
    return event
