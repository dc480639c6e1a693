"""One connection of HTTP/1.1, and the one exchange that is under way on it; `connections` keeps them."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import httptools

from gate.exchanges import BrokenOffError, ExchangeError, SilenceError

_HEAD_BYTES_MAX = 65_536
_BUFFER_BYTES_MAX = 262_144
"""Of an answer that nobody has read yet; the other side then has to wait."""

Origin = tuple[str, str, int]
"""Scheme, host and port."""


class Connection(asyncio.Protocol):
    """One connection, and the one exchange that is under way on it."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.rested_at = 0.0
        self.ended = False
        self._transport: Any = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._parser = httptools.HttpResponseParser(self)
        self._error: ExchangeError | None = None
        self._head_bytes = 0
        self._head_done = self._done = self._keep = self._until_end = False
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def reusable(self) -> bool:
        """True if the exchange is over and the other side keeps the connection open."""
        return self._done and self._keep and not self.ended and not self._transport.is_closing()

    async def send(self, head: bytes, body: bytes, seconds: float | None) -> None:
        """Begin an exchange: write a request."""
        self._begin()
        self._transport.write(head + body if len(body) < _HEAD_BYTES_MAX else head)
        if len(body) >= _HEAD_BYTES_MAX:
            self._transport.write(body)
        if not self._writable.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._writable.wait()
            except TimeoutError as exc:
                raise SilenceError("the request could not be written in time") from exc

    async def head(self, seconds: float | None) -> None:
        """Wait for the response's status and headers."""
        while not self._head_done:
            await self._more(seconds)

    async def chunk(self, seconds: float | None) -> bytes:
        """Return what came of the body since; nothing if that was all of it."""
        while not self._chunks:
            if self._done:
                return b""
            await self._more(seconds)
        chunks, self._chunks, self._buffered = self._chunks, [], 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def close(self) -> None:
        """Hang up, now."""
        if self._transport:
            self._transport.abort()

    async def _more(self, seconds: float | None) -> None:
        """Wait for the next packet. One timer a wait and no task: this runs at each request."""
        if self._error or self.ended:
            self._raise()
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _wake, waiter, SilenceError("no answer"))
        try:
            await waiter
        finally:
            self._waiter = None
            if timer:
                timer.cancel()

    def _raise(self) -> NoReturn:
        raise self._error or BrokenOffError("the connection ended before the answer did")

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._done:
            # Nobody asked: whatever this is, the next request must not take it for its answer.
            self._keep = False
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._fail(BrokenOffError(f"the answer is not HTTP: {type(exc).__name__}"))
        else:
            self._head_bytes += 0 if self._head_done else len(data)
            if self._head_bytes > _HEAD_BYTES_MAX:
                self._fail(BrokenOffError("the answer's headers are too long"))
        _wake(self._waiter)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        if self._until_end and not exc:
            self._done = True
        elif not self._done and self._error is None:
            self._error = BrokenOffError(str(exc)) if exc else None
        self._writable.set()
        _wake(self._waiter)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self._done:
            raise ValueError("a second answer to one request")  # ends the parsing, and with it the connection

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return
        self._head_done = True
        self._keep = self._parser.should_keep_alive()
        names = {name.lower() for name, _ in self.headers}
        self._until_end = not self._keep and not names & {b"content-length", b"transfer-encoding"}

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > _BUFFER_BYTES_MAX and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.status < 200:
            self.headers = []  # "100 Continue" and its like: the answer is still to come.
            return
        self._done = True

    def _fail(self, error: ExchangeError) -> None:
        self._error, self._keep = error, False
        self.close()


def _wake(waiter: asyncio.Future[None] | None, error: ExchangeError | None = None) -> None:
    if waiter and not waiter.done():
        if error:
            waiter.set_exception(error)
        else:
            waiter.set_result(None)
