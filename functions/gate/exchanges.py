"""One request and its answer, as every adapter that speaks HTTP asks for them, and what may go wrong in between.

`connections` keeps real connections; `over_httpx` takes any transport of httpx's instead, which takes as long to
import as half of what hop 1 needs for its first answer, and so is left to who asks for it (ADR 0008).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import Protocol

Timeouts = Mapping[str, float | None]
"""In seconds: connect, pool, write, read."""


class ExchangeError(Exception):
    """A request that got no answer, or half of one."""


class NotSentError(ExchangeError):
    """Nothing of it was sent: nobody listens, all connections are taken, or it cannot be written."""


class BrokenOffError(ExchangeError):
    """The connection ended, or brought something else than an answer. The request may have been taken."""


class SilenceError(ExchangeError):
    """Nothing came in time. The request may have been taken."""


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
            ExchangeError: nothing came in time, or it broke off.
        """
        ...

    async def aclose(self) -> None:
        """Let the connection go. Closing twice is fine."""
        ...


class Exchanges(Protocol):
    """Where requests are sent to."""

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Reply:
        """Send a request, and return its answer once the headers are there.

        Args:
            method: but HEAD.
            url: absolute, and written as it goes over the wire.
            headers: beside `host` and `content-length`.
            body: all of it.
            timeouts: of each part of the way; none for what they do not name.

        Raises:
            ExchangeError: there is no answer.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections. Closing twice is fine."""
        ...


async def body_of(reply: Reply, seconds: float | None, *, bytes_max: int | None = None) -> bytes:
    """Read a reply to its end, and close it.

    Args:
        reply: whose body it is.
        seconds: how long to wait for each part.
        bytes_max: how long it may be.

    Raises:
        ExchangeError: nothing came in time, or it broke off.
        ValueError: it is longer.
    """
    body = b""
    async with aclosing(reply):
        while chunk := await reply.chunk(seconds):
            body += chunk
            if bytes_max is not None and len(body) > bytes_max:
                raise ValueError(f"the answer has more than {bytes_max} bytes")
    return body
