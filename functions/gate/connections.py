"""Kept connections: how hop 1 speaks HTTP to what it calls at every request.

An `httpx` transport, so that all above it is httpx's: requests, responses, errors, timeouts. Below, instead of
httpcore, is one asyncio protocol a connection, read by httptools, which is Node's own parser: httpcore takes a
millisecond of the instance's one core for a call, and this a twelfth of that (ADR 0008).

HTTP/1.1 alone, and no answer to HEAD: nothing that hop 1 calls needs more.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, NoReturn

import httptools
import httpx

_HEAD_BYTES_MAX = 65_536
_BUFFER_BYTES_MAX = 262_144
"""Of an answer that nobody has read yet; the other side then has to wait."""
_CONNECT_TRIES = 2

_Origin = tuple[bytes, bytes, int]
_Timeouts = dict[str, float | None]


class KeptConnections(httpx.AsyncBaseTransport):
    """Sends each request on a connection that is open already, if there is one.

    Belongs to the event loop in which it is first used.

    Args:
        connections_max: open at once; who comes when all are taken waits for one.
        kept_seconds: how long one that rests is kept.
    """

    def __init__(self, *, connections_max: int, kept_seconds: float) -> None:
        self._places = asyncio.Semaphore(connections_max)
        self._kept_seconds = kept_seconds
        self._resting: dict[_Origin, deque[_Connection]] = {}
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its response is read as it comes.

        Raises:
            httpx.TransportError: of the kind that httpx's own transport gives.
        """
        timeouts: _Timeouts = request.extensions.get("timeout", {})
        if self._places.locked():
            await self._place(timeouts.get("pool"))
        else:
            await self._places.acquire()
        try:
            connection = await self._connection(request.url, timeouts)
        except BaseException:
            self._places.release()
            raise
        try:
            await connection.send(_head(request), await _body(request), timeouts.get("write"))
            await connection.head(timeouts.get("read"))
        except BaseException:
            self._put(connection)
            raise
        stream = _Answer(self, connection, timeouts.get("read"))
        return httpx.Response(connection.status, headers=connection.headers, stream=stream)

    async def aclose(self) -> None:
        """Close what rests; what is in use is closed when it comes back. Closing twice is fine."""
        self._closed = True
        for connections in self._resting.values():
            for connection in connections:
                connection.close()
        self._resting.clear()

    async def _place(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._places.acquire()
        except TimeoutError as exc:
            raise httpx.PoolTimeout("all connections are taken") from exc

    async def _connection(self, url: httpx.URL, timeouts: _Timeouts) -> _Connection:
        """Return one that rests, the last that was used first, or make one."""
        origin = (url.raw_scheme, url.raw_host, url.port or (443 if url.raw_scheme == b"https" else 80))
        resting = self._resting.setdefault(origin, deque())
        earliest = time.monotonic() - self._kept_seconds
        while resting and (resting[0].ended or resting[0].rested_at < earliest):
            resting.popleft().close()
        while resting:
            connection = resting.pop()
            if not connection.ended:
                return connection
        return await self._connect(origin, timeouts.get("connect"))

    async def _connect(self, origin: _Origin, seconds: float | None) -> _Connection:
        scheme, host, port = origin
        loop, name = asyncio.get_running_loop(), host.decode("ascii").strip("[]")
        for tries_left in reversed(range(_CONNECT_TRIES)):
            try:
                async with asyncio.timeout(seconds):
                    _, made = await loop.create_connection(
                        lambda: _Connection(origin), name, port, ssl=self._tls_of(scheme)
                    )
            except TimeoutError as exc:
                if not tries_left:
                    raise httpx.ConnectTimeout("no connection in time") from exc
            except OSError as exc:
                if not tries_left:
                    raise httpx.ConnectError(str(exc)) from exc
            else:
                return made
        raise AssertionError("the last try returns or raises")

    def _tls_of(self, scheme: bytes) -> ssl.SSLContext | None:
        if scheme == b"http":
            return None
        if scheme != b"https":
            raise httpx.UnsupportedProtocol(f"{scheme!r} is not spoken here")
        self._tls = self._tls or httpx.create_ssl_context()
        return self._tls

    def _put(self, connection: _Connection) -> None:
        """Take a connection back, for the next request or to close it."""
        self._places.release()
        if self._closed or not connection.reusable:
            connection.close()
            return
        connection.rested_at = time.monotonic()
        self._resting.setdefault(connection.origin, deque()).append(connection)


class _Answer(httpx.AsyncByteStream):
    """A response's body, as it comes."""

    def __init__(self, connections: KeptConnections, connection: _Connection, read_seconds: float | None) -> None:
        self._connections = connections
        self._connection: _Connection | None = connection
        self._read_seconds = read_seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._connection and (chunk := await self._connection.chunk(self._read_seconds)):
            yield chunk
        await self.aclose()

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            self._connections._put(connection)


class _Connection(asyncio.Protocol):
    """One connection, and the one exchange that is under way on it."""

    def __init__(self, origin: _Origin) -> None:
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
        self._error: Exception | None = None
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
                raise httpx.WriteTimeout("the request could not be written in time") from exc

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
        timer = None if seconds is None else loop.call_later(seconds, _wake, waiter, httpx.ReadTimeout("no answer"))
        try:
            await waiter
        finally:
            self._waiter = None
            if timer:
                timer.cancel()

    def _raise(self) -> NoReturn:
        raise self._error or httpx.RemoteProtocolError("the connection ended before the answer did")

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
            self._fail(httpx.RemoteProtocolError(f"the answer is not HTTP: {type(exc).__name__}"))
        else:
            self._head_bytes += 0 if self._head_done else len(data)
            if self._head_bytes > _HEAD_BYTES_MAX:
                self._fail(httpx.RemoteProtocolError("the answer's headers are too long"))
        _wake(self._waiter)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        if self._until_end and not exc:
            self._done = True
        elif not self._done and self._error is None:
            self._error = httpx.ReadError(str(exc)) if exc else None
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

    def _fail(self, error: Exception) -> None:
        self._error, self._keep = error, False
        self.close()


def _wake(waiter: asyncio.Future[None] | None, error: Exception | None = None) -> None:
    if waiter and not waiter.done():
        if error:
            waiter.set_exception(error)
        else:
            waiter.set_result(None)


def _head(request: httpx.Request) -> bytes:
    """Return the request line and the headers."""
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%s: %s" % header for header in request.headers.raw]
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
        raise httpx.LocalProtocolError("a header holds a line break")
    return head + b"\r\n\r\n"


async def _body(request: httpx.Request) -> bytes:
    with suppress(httpx.RequestNotRead):
        return request.content
    return await request.aread()
