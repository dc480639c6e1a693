"""A callable that is asked for a stream: events as they come, heartbeats in between, an end for every stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from msgspec.json import Decoder

from gate.domain.request import InferRequest
from gate.endpoints import event_stream
from gate.endpoints.callable import Call, CallableDoor, Envelope
from gate.endpoints.cors import Origins
from gate.errors import QuotaExceededError
from tests.gate.doubles import BelievingVerifier, WatchedLog

Streamer = Callable[[Call[InferRequest]], AsyncGenerator[dict[str, Any], None]]


class Client:
    """The other end of one connection, which reads what is sent and may hang up."""

    def __init__(self, streamer: Streamer, *, bearer: str = "alice", body: str = '{"data": {"inputs": "a"}}') -> None:
        self.log = WatchedLog()
        self.sent: list[dict[str, Any]] = []
        self._door = CallableDoor(
            _never,
            Decoder(Envelope[InferRequest]),
            verifier=BelievingVerifier(),
            origins=Origins((), allow_loopback=False),
            log=self.log,
            streamer=streamer,
        )
        headers = {"content-type": "application/json", "accept": "text/event-stream"}
        headers |= {"authorization": f"Bearer {bearer}"} if bearer else {}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw}
        self._body: list[dict[str, Any]] = [{"type": "http.request", "body": body.encode(), "more_body": False}]
        self.hung_up = asyncio.Event()
        self._came = asyncio.Event()

    async def call(self) -> None:
        await asyncio.wait_for(self._door(self._scope, self._receive, self._send), 20)

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def events(self) -> list[Any]:
        """What the JS SDK makes of it: the JSON of each line that begins with `data: `."""
        lines = self.text.split("\n")
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]

    async def _receive(self) -> dict[str, Any]:
        if self._body:
            return self._body.pop(0)
        await self.hung_up.wait()
        return {"type": "http.disconnect"}

    async def until(self, text: str) -> None:
        """Wait until this was sent."""
        async with asyncio.timeout(20):
            while text not in self.text:
                self._came.clear()
                await self._came.wait()

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        self._came.set()


async def _never(_: Call[InferRequest]) -> dict[str, Any]:
    raise AssertionError("this door was asked for a stream")


async def two_parts(_: Call[InferRequest]) -> AsyncGenerator[dict[str, Any], None]:
    yield {"message": {"text": "a\nb"}}
    yield {"message": {"text": "c"}}
    yield {"result": {"outputs": "a\nbc"}}


async def test_parts_are_messages_and_the_end_is_the_result() -> None:
    client = Client(two_parts)

    await client.call()

    assert client.events == [
        {"message": {"text": "a\nb"}},
        {"message": {"text": "c"}},
        {"result": {"outputs": "a\nbc"}},
    ]
    assert client.sent[0]["status"] == 200
    assert client.sent[-1].get("more_body", False) is False


async def test_each_part_is_sent_when_it_comes() -> None:
    """A stream that arrives all at once is none."""
    go_on = asyncio.Event()

    async def streamer(_: Call[InferRequest]) -> AsyncGenerator[dict[str, Any], None]:
        yield {"message": 1}
        await go_on.wait()
        yield {"result": 2}

    client = Client(streamer)
    calling = asyncio.ensure_future(client.call())
    await client.until("data: ")

    assert client.events == [{"message": 1}]
    go_on.set()
    await calling
    assert client.events[-1] == {"result": 2}


async def test_a_silent_stream_says_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment, which the SDK passes over."""
    monkeypatch.setattr(event_stream, "_HEARTBEAT_SECONDS", 0.01)

    async def streamer(_: Call[InferRequest]) -> AsyncGenerator[dict[str, Any], None]:
        await client.until(": ping\n\n")
        yield {"result": 2}

    client = Client(streamer)
    await client.call()

    assert client.text.startswith(": ping\n\n")
    assert client.events == [{"result": 2}]


@pytest.mark.parametrize(
    ("client", "status"),
    [
        pytest.param({"bearer": ""}, "UNAUTHENTICATED", id="stranger"),
        pytest.param({"body": "[]"}, "INVALID_ARGUMENT", id="malformed"),
        pytest.param({"body": "{"}, "INVALID_ARGUMENT", id="no-json"),
    ],
)
async def test_a_refusal_is_an_event_with_status_200(client: dict[str, str], status: str) -> None:
    """`stream()` looks at no status, and would wait for ever."""
    asking = Client(two_parts, **client)

    await asking.call()

    [event] = asking.events
    assert event["error"]["status"] == status
    assert asking.sent[0]["status"] == 200


async def test_an_error_after_some_parts_ends_the_stream() -> None:
    async def streamer(_: Call[InferRequest]) -> AsyncGenerator[dict[str, Any], None]:
        yield {"message": 1}
        raise QuotaExceededError("full", details={"retry_after_seconds": 3})

    client = Client(streamer)
    await client.call()

    assert client.events[0] == {"message": 1}
    assert client.events[1]["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert client.events[1]["error"]["details"] == {"retry_after_seconds": 3}


async def test_a_bug_ends_the_stream_and_tells_nothing() -> None:
    async def streamer(_: Call[InferRequest]) -> AsyncGenerator[dict[str, Any], None]:
        yield {"message": 1}
        raise ZeroDivisionError("a secret")

    client = Client(streamer)
    await client.call()

    assert client.events[1] == {"error": {"status": "INTERNAL", "message": "INTERNAL", "details": None}}
    assert "a secret" in client.log.text.getvalue()


async def test_the_work_is_stopped_when_the_client_hangs_up() -> None:
    """And the request ends only when that is done: an instance may be put to sleep right after it."""
    stopped = False

    async def streamer(_: Call[InferRequest]) -> AsyncGenerator[dict[str, Any], None]:
        nonlocal stopped
        yield {"message": 1}
        client.hung_up.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            stopped = True
            raise

    client = Client(streamer)
    await client.call()

    assert stopped
    assert client.events == [{"message": 1}]
