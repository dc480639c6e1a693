"""Kept connections: how hop 1 speaks HTTP to what it calls at every request.

An `httpx` transport, so that addresses, errors and timeouts are httpx's. Below, instead of httpcore, is one asyncio
protocol a connection, read by httptools, which is Node's own parser: httpcore takes a millisecond of the instance's
one core for a call, and this a twelfth of that. `exchange` does without httpx's requests and responses as well, which
take as long again (ADR 0008).

HTTP/1.1 alone, and no answer to HEAD: nothing that hop 1 calls needs more.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import cache, lru_cache

import httpx
import msgspec

from gate._connection import Connection, Origin

_CONNECT_TRIES = 2

_Timeouts = Mapping[str, float | None]


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
        self._resting: dict[Origin, deque[Connection]] = {}
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its response is read as it comes.

        Raises:
            httpx.TransportError: of the kind that httpx's own transport gives.
        """
        timeouts: _Timeouts = request.extensions.get("timeout", {})
        lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
        lines += [b"%s: %s" % header for header in request.headers.raw]
        head = _checked_head(b"\r\n".join(lines), lines=len(lines))
        connection = await self._begun(_origin(request.url), head, await _body(request), timeouts)
        stream = _Answer(self, connection, timeouts.get("read"))
        return httpx.Response(connection.status, headers=connection.headers, stream=stream)

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: _Timeouts
    ) -> Reply:
        """Send a request without httpx's classes, and return its answer once the headers are there.

        Args:
            method: but HEAD.
            url: absolute.
            headers: beside `host` and `content-length`.
            body: all of it.
            timeouts: in seconds, by httpx's names: connect, pool, write, read.

        Raises:
            httpx.TransportError: as `handle_async_request`.
        """
        target = _target(url)
        lines = [f"{method} {target.path} HTTP/1.1", f"host: {target.host}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method not in ("GET", "DELETE"):
            lines.append(f"content-length: {len(body)}")
        head = _checked_head("\r\n".join(lines).encode(), lines=len(lines))
        return Reply(self, await self._begun(target.origin, head, body, timeouts))

    async def _begun(self, origin: Origin, head: bytes, body: bytes, timeouts: _Timeouts) -> Connection:
        """Return the connection on which an answer has begun to come."""
        if self._places.locked():
            await self._place(timeouts.get("pool"))
        else:
            await self._places.acquire()
        try:
            connection = await self._connection(origin, timeouts.get("connect"))
        except BaseException:
            self._places.release()
            raise
        try:
            await connection.send(head, body, timeouts.get("write"))
            await connection.head(timeouts.get("read"))
        except BaseException:
            self._put(connection)
            raise
        return connection

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

    async def _connection(self, origin: Origin, connect_seconds: float | None) -> Connection:
        """Return one that rests, the last that was used first, or make one."""
        resting = self._resting.setdefault(origin, deque())
        earliest = time.monotonic() - self._kept_seconds
        while resting and (resting[0].ended or resting[0].rested_at < earliest):
            resting.popleft().close()
        while resting:
            connection = resting.pop()
            if not connection.ended:
                return connection
        return await self._connect(origin, connect_seconds)

    async def _connect(self, origin: Origin, seconds: float | None) -> Connection:
        scheme, host, port = origin
        loop, name = asyncio.get_running_loop(), host.decode("ascii").strip("[]")
        for tries_left in reversed(range(_CONNECT_TRIES)):
            try:
                async with asyncio.timeout(seconds):
                    _, made = await loop.create_connection(
                        lambda: Connection(origin), name, port, ssl=_tls_of(scheme)
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

    def _put(self, connection: Connection) -> None:
        """Take a connection back, for the next request or to close it."""
        self._places.release()
        if self._closed or not connection.reusable:
            connection.close()
            return
        connection.rested_at = time.monotonic()
        self._resting.setdefault(connection.origin, deque()).append(connection)


class Reply:
    """An answer whose headers are there. Whoever has it reads it to its end or closes it."""

    def __init__(self, connections: KeptConnections, connection: Connection) -> None:
        self._connections = connections
        self._connection: Connection | None = connection
        self.status = connection.status
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in connection.headers}

    async def chunk(self, seconds: float | None) -> bytes:
        """Return what came of the body since; nothing if that was all of it.

        Raises:
            httpx.TransportError: nothing came in time, or it broke off.
        """
        if self._connection is None:
            return b""
        chunk = await self._connection.chunk(seconds)
        if not chunk:
            await self.aclose()
        return chunk

    async def aclose(self) -> None:
        """Let the connection go: to the next request if all was read, else for good. Closing twice is fine."""
        connection, self._connection = self._connection, None
        if connection:
            self._connections._put(connection)


class _Answer(httpx.AsyncByteStream):
    """A response's body, as it comes."""

    def __init__(self, connections: KeptConnections, connection: Connection, read_seconds: float | None) -> None:
        self._connections = connections
        self._connection: Connection | None = connection
        self._read_seconds = read_seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._connection and (chunk := await self._connection.chunk(self._read_seconds)):
            yield chunk
        await self.aclose()

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            self._connections._put(connection)


class _Target(msgspec.Struct, frozen=True, kw_only=True):
    """An address, as the wire needs it."""

    origin: Origin
    host: str
    path: str


@lru_cache(maxsize=256)
def _target(url: str) -> _Target:
    parsed = httpx.URL(url)
    return _Target(origin=_origin(parsed), host=parsed.netloc.decode("ascii"), path=parsed.raw_path.decode("ascii"))


def _tls_of(scheme: bytes) -> ssl.SSLContext | None:
    if scheme == b"http":
        return None
    if scheme != b"https":
        raise httpx.UnsupportedProtocol(f"{scheme!r} is not spoken here")
    return _tls()


_tls = cache(httpx.create_ssl_context)
"""One for all connections: reading the certificates of those whom everybody trusts takes 20 ms."""


def _origin(url: httpx.URL) -> Origin:
    return url.raw_scheme, url.raw_host, url.port or (443 if url.raw_scheme == b"https" else 80)


def _checked_head(head: bytes, *, lines: int) -> bytes:
    """Return the request line and the headers, as they go over the wire."""
    if head.count(b"\n") != lines - 1 or head.count(b"\r") != lines - 1 or b"\0" in head:
        raise httpx.LocalProtocolError("a header holds a line break")
    return head + b"\r\n\r\n"


async def _body(request: httpx.Request) -> bytes:
    with suppress(httpx.RequestNotRead):
        return request.content
    return await request.aread()
