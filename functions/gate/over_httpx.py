"""Exchanges over a transport of httpx's: another network, or a test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager

import httpx

from gate.exchanges import BrokenOffError, ExchangeError, NotSentError, Reply, SilenceError, Timeouts

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


class OverHttpx:
    """`Exchanges` over any transport."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Reply:
        """See `Exchanges.exchange`."""
        limits = {"timeout": dict(timeouts)}
        request = httpx.Request(method, url, headers=dict(headers), content=body, extensions=limits)
        with _translating():
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
        with _translating():
            async with asyncio.timeout(seconds):
                return await anext(self._chunks, b"")

    async def aclose(self) -> None:
        await self._response.aclose()


@contextmanager
def _translating() -> Iterator[None]:
    """Say httpx's errors in the words of `exchanges`."""
    try:
        yield
    except httpx.HTTPError as exc:
        raise _error(exc)(f"{type(exc).__name__}: {exc}") from exc
    except TimeoutError as exc:
        raise SilenceError("nothing came in time") from exc


def _error(exc: httpx.HTTPError) -> type[ExchangeError]:
    if isinstance(exc, _NEVER_SENT):
        return NotSentError
    return SilenceError if isinstance(exc, httpx.TimeoutException) else BrokenOffError


class _Body(httpx.AsyncByteStream):
    """A reply's body, as it comes."""

    def __init__(self, reply: Reply, seconds: Callable[[], float]) -> None:
        self._reply = reply
        self._seconds = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._reply.chunk(self._seconds()):
            yield chunk


async def unpacked(reply: Reply, seconds: Callable[[], float]) -> AsyncIterator[bytes]:
    """Yield the body of a reply that is packed in a way that it names itself.

    Raises:
        ExchangeError: as `Reply.chunk`; or it is not packed as it says.
    """
    response = httpx.Response(reply.status, headers=dict(reply.headers), stream=_Body(reply, seconds))
    try:
        async for chunk in response.aiter_bytes():
            yield chunk
    except httpx.DecodingError as exc:
        raise BrokenOffError("the answer is not packed as it says") from exc
