"""HTTP as providers need it: bounded, tried again only where nothing was taken, errors in the gate's words."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

import msgspec

from gate import wire
from gate.connections import KeptConnections
from gate.errors import ProviderTimeoutError, ProviderUnavailableError, SettingsError
from gate.exchanges import ExchangeError, Exchanges, NotSentError, Reply

_CONNECT_SECONDS = 5.0
_WRITE_SECONDS = 30.0
_TRIES_MAX = 4
_PAUSE_SECONDS_FIRST = 0.25
_RETRY_AFTER_SECONDS_DEFAULT = 5.0
_RETRY_AFTER_SECONDS_MAX = 300.0
_CONNECTIONS_MAX = 1_000
"""The most calls that Cloud Run gives one instance at a time."""
_LIMITS_SECONDS = {"connect": _CONNECT_SECONDS, "pool": _CONNECT_SECONDS, "write": _WRITE_SECONDS}
_KEPT_SECONDS = 4.0
"""Uvicorn hangs up after five: a connection must not be used in the moment in which it is closed."""

Sleep = Callable[[float], Awaitable[None]]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One request."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One response, read to its end unless it is too long."""

    status: int
    body: bytes
    whole: bool
    """False if there is more of it than the provider may answer; then the body is empty."""
    elapsed_ms: int
    retry_after_seconds: float | None

    @property
    def ok(self) -> bool:
        """True if the request was taken and answered."""
        return 200 <= self.status < 300

    @property
    def retry_hint_seconds(self) -> float:
        """How long a client should wait before it asks again."""
        return self.retry_after_seconds or _RETRY_AFTER_SECONDS_DEFAULT

    @property
    def took_nothing(self) -> bool:
        """True if asking again cannot run a job twice.

        That is a throttle, and a 503 in our own worker's words. Any other 503 may come from a proxy whose container
        died in the middle of the job.
        """
        return self.status == 429 or (self.status == 503 and self._says_unavailable())

    def _says_unavailable(self) -> bool:
        try:
            failure = wire.WorkResult.from_json(self.json()).failure
        except (wire.WireError, ValueError):
            return False
        return failure is not None and failure.code == ProviderUnavailableError.code

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            ValueError: it is something else, or cut off.
        """
        try:
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                return msgspec.json.decode(self.body)
            return json.loads(self.body)  # Which also takes what Python's own writer makes: NaN, a lone surrogate.
        except RecursionError as exc:
            raise ValueError("nested too deeply") from exc


class HttpHost:
    """Keeps connections to a host open. They are made at the first request, inside the event loop that uses it."""

    def __init__(
        self,
        *,
        name: str,
        bytes_out_max: int,
        exchanges: Exchanges | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._name = name
        self._bytes_out_max = bytes_out_max
        self._sleep = sleep
        self._translating = _Translating(name)
        self._exchanges = exchanges

    async def ask(self, make: Callable[[], Ask], *, read_seconds: float, patience_seconds: float = 0) -> Answer:
        """Send a request and return its answer. A busy host is asked again, for as long as the patience lasts.

        Args:
            make: makes the request, anew for each try: a worker takes one signature only once.
            read_seconds: how long to wait for the answer.
            patience_seconds: how long all pauses together may be.

        Raises:
            ProviderUnavailableError: nothing was sent.
            ProviderTimeoutError: it was sent, and there is no whole answer.
        """
        pauses = _Pauses(patience_seconds)
        while True:
            answer = await self._once(make(), read_seconds)
            pause = pauses.next_seconds(answer)
            if pause is None:
                return answer
            await self._sleep(pause)

    async def lines(
        self, make: Callable[[], Ask], *, read_seconds: float, patience_seconds: float = 0
    ) -> AsyncGenerator[bytes | Answer, None]:
        """Send a request and yield the lines of the event stream that answers it, or the answer if it is none.

        The next line may take `read_seconds`; how long all of it may take is up to the one who reads.

        Raises:
            ProviderError: as `ask`, at any point of the iteration.
        """
        pauses = _Pauses(patience_seconds)
        while True:
            begun = time.monotonic()
            with self._translating:
                reply = await self._send(make(), read_seconds, accept="text/event-stream, application/json")
                async with aclosing(reply):
                    if _is_event_stream(reply):
                        async for line in self._lines(reply, read_seconds):
                            yield line
                        return
                    answer = await self._answer(reply, begun, read_seconds)
            pause = pauses.next_seconds(answer)
            if pause is None:
                yield answer
                return
            await self._sleep(pause)

    async def close(self) -> None:
        """Close connections. Closing twice is fine."""
        exchanges, self._exchanges = self._exchanges, None
        if exchanges:
            await exchanges.aclose()

    async def _once(self, ask: Ask, read_seconds: float) -> Answer:
        begun = time.monotonic()
        with self._translating:
            reply = await self._send(ask, read_seconds, accept="application/json")
            try:
                return await self._answer(reply, begun, read_seconds)
            finally:
                await reply.aclose()

    async def _send(self, ask: Ask, read_seconds: float, *, accept: str) -> Reply:
        """Return the reply once its headers are there. Whoever asks closes it."""
        # Uncompressed, so that the bytes that are counted are the bytes that are kept.
        headers = {**ask.headers, "accept": accept, "accept-encoding": "identity"}
        limits = {**_LIMITS_SECONDS, "read": read_seconds}
        return await self._open().exchange(ask.method, ask.url, headers, ask.body, limits)

    async def _answer(self, reply: Reply, begun: float, read_seconds: float) -> Answer:
        body, whole = await self._read(reply, begun, read_seconds)
        return Answer(
            status=reply.status,
            body=body,
            whole=whole,
            elapsed_ms=round((time.monotonic() - begun) * 1000),
            retry_after_seconds=_retry_after_seconds(reply.headers.get("retry-after")),
        )

    async def _read(self, reply: Reply, begun: float, read_seconds: float) -> tuple[bytes, bool]:
        body = bytearray()
        # The read timeout starts anew with each packet; this one ends an answer that drips for ever.
        ends_at = begun + read_seconds + _CONNECT_SECONDS + _WRITE_SECONDS
        async for chunk in _chunks_of(reply, lambda: min(read_seconds, ends_at - time.monotonic())):
            body += chunk
            if len(body) > self._bytes_out_max:
                return b"", False
        return bytes(body), True

    async def _lines(self, reply: Reply, read_seconds: float) -> AsyncGenerator[bytes, None]:
        """Yield lines by line feeds alone: others would also break at characters that may be part of a text."""
        size, rest = 0, bytearray()
        async for chunk in _chunks_of(reply, lambda: read_seconds):
            size += len(chunk)
            if size > self._bytes_out_max:
                raise ProviderTimeoutError(f"{self._name}: the stream has more than {self._bytes_out_max} bytes")
            *lines, last = chunk.split(b"\n")
            for line in lines:
                yield bytes(rest + line)
                rest.clear()
            rest += last

    def _open(self) -> Exchanges:
        if self._exchanges is None:
            self._exchanges = KeptConnections(connections_max=_CONNECTIONS_MAX, kept_seconds=_KEPT_SECONDS)
        return self._exchanges


class _Translating:
    """Says errors of the transport in the gate's words."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, exc: BaseException | None, __: object) -> None:
        if isinstance(exc, NotSentError):
            raise ProviderUnavailableError(f"{self._name}: {type(exc).__name__}; nothing was sent") from exc
        if isinstance(exc, ExchangeError):
            raise ProviderTimeoutError(f"{self._name}: {type(exc).__name__}; it may have been taken") from exc


class _Pauses:
    """The pauses before a busy host is asked again, until the patience is at its end."""

    def __init__(self, patience_seconds: float) -> None:
        self._left_seconds = patience_seconds
        self._made = 0

    def next_seconds(self, answer: Answer) -> float | None:
        """Return how long to wait before asking again; None if this answer is the last."""
        if not answer.took_nothing or self._made == _TRIES_MAX - 1:
            return None
        pause = answer.retry_after_seconds or _PAUSE_SECONDS_FIRST * 2**self._made * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load and protects nothing
        self._made += 1
        self._left_seconds -= pause
        return None if self._left_seconds < 0 else pause


def _is_event_stream(reply: Reply) -> bool:
    return 200 <= reply.status < 300 and reply.headers.get("content-type", "").startswith("text/event-stream")


async def _chunks_of(reply: Reply, seconds: Callable[[], float]) -> AsyncIterator[bytes]:
    """Yield the body as it comes, unpacked if it is packed although nobody asked for that.

    Args:
        reply: whose body it is.
        seconds: says how long to wait for the next part.
    """
    if "content-encoding" in reply.headers:
        from gate.over_httpx import unpacked

        async for chunk in unpacked(reply, seconds):
            yield chunk
        return
    while chunk := await reply.chunk(seconds()):
        yield chunk


def header_text(name: str, value: str) -> str:
    """Return a setting that goes into a header.

    Raises:
        SettingsError: it is empty, or no header can carry it; the reason names it and never shows it.
    """
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise SettingsError(f"{name} is empty or has characters that no key has; was a line break copied with it?")
    return value


def _retry_after_seconds(stated: str | None) -> float | None:
    """Read Retry-After in its form of seconds. The form of a date is rare, and needs both clocks to be right."""
    if stated is None:
        return None
    return min(float(stated), _RETRY_AFTER_SECONDS_MAX) if re.fullmatch(r"\d{1,9}", stated) else None
