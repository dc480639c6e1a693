"""Kept connections: how hop 1 speaks HTTP to what it calls at every request.

Each is one asyncio protocol, read by httptools, which is Node's own parser: httpcore takes a millisecond of the
instance's one core for a call, and this a twelfth of that; and httpx's requests and responses take as long again
(ADR 0008).

HTTP/1.1 alone, and no answer to HEAD: nothing that hop 1 calls needs more.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections import deque
from collections.abc import Mapping
from functools import cache, lru_cache
from urllib.parse import urlsplit

import msgspec

from gate._connection import Connection, Origin
from gate.exchanges import NotSentError, Timeouts

_CONNECT_TRIES = 2


class KeptConnections:
    """`Exchanges` that send each request on a connection that is open already, if there is one.

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

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> _Reply:
        """See `Exchanges.exchange`."""
        target = _target(url)
        lines = [f"{method} {target.path} HTTP/1.1", f"host: {target.host}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method not in ("GET", "DELETE"):
            lines.append(f"content-length: {len(body)}")
        head = _checked_head("\r\n".join(lines).encode(), lines=len(lines))
        return _Reply(self, await self._begun(target.origin, head, body, timeouts))

    async def _begun(self, origin: Origin, head: bytes, body: bytes, timeouts: Timeouts) -> Connection:
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
            raise NotSentError("all connections are taken") from exc

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
        loop = asyncio.get_running_loop()
        for tries_left in reversed(range(_CONNECT_TRIES)):
            try:
                async with asyncio.timeout(seconds):
                    _, made = await loop.create_connection(
                        lambda: Connection(origin), host, port, ssl=_tls_of(scheme)
                    )
            except TimeoutError as exc:
                if not tries_left:
                    raise NotSentError("no connection in time") from exc
            except OSError as exc:
                if not tries_left:
                    raise NotSentError(str(exc)) from exc
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


class _Reply:
    """A `Reply` on a connection that goes back."""

    def __init__(self, connections: KeptConnections, connection: Connection) -> None:
        self._connections = connections
        self._connection: Connection | None = connection
        self.status = connection.status
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in connection.headers}

    async def chunk(self, seconds: float | None) -> bytes:
        """See `exchanges.Reply.chunk`."""
        if self._connection is None:
            return b""
        chunk = await self._connection.chunk(seconds)
        if not chunk:
            await self.aclose()
        return chunk

    async def aclose(self) -> None:
        """See `exchanges.Reply.aclose`. The connection goes to the next request if all was read."""
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
    parsed = urlsplit(url)
    if not (parsed.hostname and url.isascii() and url.isprintable()) or " " in url:
        raise NotSentError("the address cannot be written into a request")
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    path = (parsed.path or "/") + (f"?{parsed.query}" if parsed.query else "")
    return _Target(origin=(parsed.scheme, parsed.hostname, port), host=parsed.netloc.rpartition("@")[2], path=path)


def _tls_of(scheme: str) -> ssl.SSLContext | None:
    if scheme == "http":
        return None
    if scheme != "https":
        raise NotSentError(f"{scheme!r} is not spoken here")
    return _tls()


@cache
def _tls() -> ssl.SSLContext:
    """Return one for all connections: reading the certificates of those whom everybody trusts takes 20 ms."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or folder:
        return ssl.create_default_context(cafile=file, capath=folder)
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


def _checked_head(head: bytes, *, lines: int) -> bytes:
    """Return the request line and the headers, as they go over the wire."""
    if head.count(b"\n") != lines - 1 or head.count(b"\r") != lines - 1 or b"\0" in head:
        raise NotSentError("a header holds a line break")
    return head + b"\r\n\r\n"
