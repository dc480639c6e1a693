"""One request and its answer, as `_http` asks for them: of kept connections, or of any transport of httpx's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

import httpx


class Reply(Protocol):
    """An answer whose headers are there. Whoever has it reads it to its end or closes it."""

    @property
    def status(self) -> int:
        """Of HTTP."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By their names in lower case."""
        ...

    async def chunk(self, seconds: float | None) -> bytes:
        """Return what came of the body since; nothing if that was all of it.

        Raises:
            httpx.TransportError, TimeoutError: nothing came in time, or it broke off.
        """
        ...

    async def aclose(self) -> None:
        """Let the connection go. Closing twice is fine."""
        ...


class Exchanges(Protocol):
    """Where requests are sent to."""

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Mapping[str, float | None]
    ) -> Reply:
        """See `KeptConnections.exchange`."""
        ...

    async def aclose(self) -> None:
        """Let go of connections. Closing twice is fine."""
        ...


class OverHttpx:
    """Exchanges over a transport of httpx's: another network, or a test's."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Mapping[str, float | None]
    ) -> Reply:
        """See `Exchanges.exchange`."""
        limits = {"timeout": dict(timeouts)}
        request = httpx.Request(method, url, headers=dict(headers), content=body, extensions=limits)
        async with asyncio.timeout(timeouts.get("read")):
            return _HttpxReply(await self._transport.handle_async_request(request))

    async def aclose(self) -> None:
        """See `Exchanges.aclose`."""
        await self._transport.aclose()


class _HttpxReply:
    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        assert isinstance(response.stream, httpx.AsyncByteStream), "an async transport answers with an async stream"
        self._chunks = aiter(response.stream)
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def chunk(self, seconds: float | None) -> bytes:
        async with asyncio.timeout(seconds):
            return await anext(self._chunks, b"")

    async def aclose(self) -> None:
        await self._response.aclose()


class _Body(httpx.AsyncByteStream):
    """A reply's body, as it comes."""

    def __init__(self, reply: Reply, seconds: Callable[[], float]) -> None:
        self._reply = reply
        self._seconds = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._reply.chunk(self._seconds()):
            yield chunk


def chunks_of(reply: Reply, seconds: Callable[[], float]) -> AsyncIterator[bytes]:
    """Return the body as it comes, unpacked if it is packed although nobody asked for that.

    Args:
        reply: whose body it is.
        seconds: says how long to wait for the next part.
    """
    body = _Body(reply, seconds)
    if "content-encoding" not in reply.headers:
        return aiter(body)
    return httpx.Response(reply.status, headers=dict(reply.headers), stream=body).aiter_bytes()
