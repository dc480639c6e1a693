"""An answer that goes out while its job runs: as server-sent events from the job's first part on.

The events are `part` (`{"text": …}`), `progress` (`{"done": …, "total": …}`), and at the end `result`, the whole
`wire.WorkResult`; or `kept`, the job as `/status` tells it, if it goes on when its wait is over. A job that comes to
either before it has made a part is answered by JSON: its result, or 202 and how it stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from gate import wire
from worker.encoding import encode
from worker.http.exchange import left, respond, respond_result
from worker.jobs.parts import Parts

_HEADERS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """How long a request waits for a job that goes on without it."""

    seconds: float
    go_on: Callable[[], dict[str, Any]]
    """Called when the wait is over, or the job was cancelled. Returns how the job stands."""
    leave: Callable[[], None]
    """Called when the client has left before that."""


class LiveAnswer:
    """The answer to one request, as an ASGI app. It stops no job; whoever began one does.

    Args:
        answering: the job.
        parts: what it makes before its end.
        heartbeat_seconds: how long a client of events may hear nothing.
        wait: of a job that goes on without its request; None for one that does not.
    """

    def __init__(
        self,
        answering: asyncio.Task[wire.WorkResult],
        parts: Parts,
        *,
        heartbeat_seconds: float,
        wait: Wait | None = None,
    ) -> None:
        self._answering = answering
        self._parts = parts
        self._heartbeat_seconds = heartbeat_seconds
        self._wait = wait
        self._is_wait_over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until the job's end, the wait's end, or until the client goes away."""
        leaving = asyncio.create_task(left(receive))
        for task in (self._answering, leaving):
            task.add_done_callback(self._wake)
        waiting = self._wait and asyncio.get_running_loop().call_later(self._wait.seconds, self._end_wait)
        try:
            await self._parts.came()
            if self._has_ended:
                await respond_result(self._answering.result())(scope, receive, send)
            elif self._goes_on:
                await respond(202, encode(self._told()))(scope, receive, send)
            elif not leaving.done():
                await self._stream(leaving, send)
            if self._wait and leaving.done() and not self._has_ended and not self._goes_on:
                self._wait.leave()
        finally:
            leaving.cancel()
            if waiting:
                waiting.cancel()

    def _wake(self, _: object) -> None:
        self._parts.wake()

    def _end_wait(self) -> None:
        self._is_wait_over = True
        self._parts.wake()

    @property
    def _has_ended(self) -> bool:
        return self._answering.done() and not self._answering.cancelled()

    @property
    def _goes_on(self) -> bool:
        return self._wait is not None and (self._is_wait_over or self._answering.cancelled())

    def _told(self) -> dict[str, Any]:
        assert self._wait is not None, "only a job that has a wait goes on after it"
        return self._wait.go_on()

    async def _stream(self, leaving: asyncio.Task[None], send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        async for event in self._events(leaving):
            await send({"type": "http.response.body", "body": event, "more_body": True})
        if not leaving.done():
            await send({"type": "http.response.body", "body": b""})

    async def _events(self, leaving: asyncio.Task[None]) -> AsyncIterator[bytes]:
        while not leaving.done():
            has_ended, goes_on = self._has_ended, self._goes_on
            made = self._parts.take()
            if made.text:
                yield _event("part", {"text": made.text})
            if made.progress:
                yield _event("progress", dict(zip(("done", "total"), made.progress, strict=True)))
            if has_ended:
                yield _event("result", self._answering.result().to_json())
                return
            if goes_on:
                yield _event("kept", self._told())
                return
            try:
                await asyncio.wait_for(self._parts.came(), self._heartbeat_seconds)
            except TimeoutError:
                yield b": still at work\n\n"


def _event(name: str, fields: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + encode(fields) + b"\n\n"
