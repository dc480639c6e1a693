"""The queue's HTTP/1.1 client: few addresses, kept connections, and a way to hang up without losing what is said.

It is written out because a start is billed and so is each call: httpx takes 0.3 s to import, as long again for its
first client, and 1.7 ms a call, where this one takes a fifth of a millisecond and nothing to import. It follows no
redirects and asks for no compression; a proxy of the environment is not used, as RunPod's SDK uses none.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from urllib.parse import SplitResult, quote, urlsplit

from worker.queue.link.connection import Connection, Reply, StaleError
from worker.queue.link.errors import LostError

_CONNECT_SECONDS_MAX = 10.0
_LINGER_SECONDS = 1.0
"""How long an answer is still read from a connection that was hung up."""
_IDLE_MAX = 64
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_SAFE = "!#$%&'()*+,/:;=?@[]~"
"""What a URL may hold as it is; anything else in an id, a space or a line break, is quoted."""

_Origin = tuple[str, str, int]


class Client:
    """Sends requests over connections that it keeps. It belongs to one event loop.

    Args:
        headers: sent with each request.
    """

    def __init__(self, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        self._headers = dict(headers)
        self._idle: dict[_Origin, list[Connection]] = {}
        self._busy: dict[Connection, str] = {}

    async def send(
        self,
        method: str,
        url: str,
        *,
        seconds_max: float,
        body: bytes = b"",
        headers: Mapping[str, str] = _NO_HEADERS,
        name: str = "",
    ) -> Reply:
        """Send one request and return its answer, whatever its status.

        Args:
            method: GET or POST.
            url: absolute, http or https.
            seconds_max: how long it may take in all.
            body: what is posted.
            headers: in addition to the client's own.
            name: by which `hang_up` finds it.

        Raises:
            LostError: no answer came, for whatever reason.
        """
        parts = urlsplit(url)
        request = self._encode(method, parts, body, headers)
        try:
            async with asyncio.timeout(seconds_max):
                return await self._send(_origin(parts), request, name)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as exc:  # TimeoutError is an OSError
            raise LostError(f"no answer from {parts.hostname}: {type(exc).__name__} {exc}".rstrip()) from exc

    def hang_up(self, name: str | None = None) -> int:
        """End the requests of a name, or all of them, and return how many were under way.

        Only our half of each connection is closed at once. An answer that was already on its way is still read.
        """
        called = [connection for connection, its in self._busy.items() if name in {None, its}]
        for connection in called:
            connection.hang_up()
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._abandon, connection)
        if name is None:
            self._close_idle()
        return len(called)

    def close(self) -> None:
        """Close every connection. Requests under way are lost."""
        self._close_idle()
        for connection in list(self._busy):
            connection.close()

    async def _send(self, origin: _Origin, request: bytes, name: str) -> Reply:
        while (kept := self._kept(origin)) is not None:
            try:
                return await self._exchange(origin, kept, request, name)
            except StaleError:
                # The server closed it while it was idle, so nothing was heard, unless it was we who hung up.
                if kept.hung_up:
                    raise
        async with asyncio.timeout(_CONNECT_SECONDS_MAX):
            fresh = await _open(origin)
        return await self._exchange(origin, fresh, request, name)

    async def _exchange(self, origin: _Origin, connection: Connection, request: bytes, name: str) -> Reply:
        self._busy[connection] = name
        try:
            reply = await connection.exchange(request)
        except BaseException:
            connection.close()
            raise
        finally:
            del self._busy[connection]
        self._keep(origin, connection, reply)
        return reply

    def _keep(self, origin: _Origin, connection: Connection, reply: Reply) -> None:
        idle = self._idle.setdefault(origin, [])
        if reply.keeps and connection.usable and len(idle) < _IDLE_MAX:
            idle.append(connection)
        else:
            connection.close()

    def _kept(self, origin: _Origin) -> Connection | None:
        idle = self._idle.get(origin, [])
        while idle:
            connection = idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return None

    def _close_idle(self) -> None:
        for connection in (connection for idle in self._idle.values() for connection in idle):
            connection.close()
        self._idle.clear()

    def _abandon(self, connection: Connection) -> None:
        if connection in self._busy:
            connection.close()

    def _encode(self, method: str, parts: SplitResult, body: bytes, headers: Mapping[str, str]) -> bytes:
        target = quote(f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/", safe=_SAFE)
        fields = {"Host": parts.netloc.rpartition("@")[2], **self._headers, **headers}
        if method == "POST":
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {_line(value)}" for name, value in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


def _line(value: str) -> str:
    """Keep a value from becoming a second header."""
    return " ".join(value.split())


def _origin(parts: SplitResult) -> _Origin:
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


async def _open(origin: _Origin) -> Connection:
    scheme, host, port = origin
    return Connection(*await asyncio.open_connection(host, port, ssl=_tls() if scheme == "https" else None))


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
