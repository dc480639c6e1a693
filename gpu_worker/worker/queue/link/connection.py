"""One HTTP/1.1 connection: a request goes out, its answer comes in, and either side may close it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

_BODY_BYTES_MAX = 512_000_000
"""A batch of jobs, each as large as the queue takes them."""


class StaleError(EOFError):
    """The connection ended before the first byte of an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the request was heard and granted."""
        return 200 <= self.status < 300

    @property
    def keeps(self) -> bool:
        """Whether the connection can be used again."""
        is_bounded = "content-length" in self.headers or _is_chunked(self.headers) or _is_empty(self.status)
        return is_bounded and "close" not in self.headers.get("connection", "").lower()


class Connection:
    """A connection that is open until it is closed; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.hung_up = False

    @property
    def usable(self) -> bool:
        """Whether another request may be sent over it, as far as this side knows."""
        return not (self.hung_up or self._writer.is_closing() or self._reader.at_eof())

    async def exchange(self, request: bytes) -> Reply:
        """Send a request and read its answer.

        Raises:
            StaleError: it was closed before any answer.
            OSError, EOFError, ValueError: it broke, or what came is no HTTP.
        """
        try:
            self._writer.write(request)
            await self._writer.drain()
            head = await self._reader.readuntil(b"\r\n\r\n")
        except ConnectionError as exc:
            raise StaleError(str(exc)) from exc
        except asyncio.IncompleteReadError as exc:
            if exc.partial:
                raise
            raise StaleError("closed before any answer") from exc
        return await self._read(head)

    def hang_up(self) -> None:
        """Say that nothing more will be sent, and go on reading. Below TLS, which knows no half."""
        self.hung_up = True
        wire: socket.socket | None = self._writer.get_extra_info("socket")
        with suppress(OSError):
            if wire is not None:
                wire.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close it at once."""
        transport = self._writer.transport
        transport.abort() if self.hung_up else transport.close()

    async def _read(self, head: bytes) -> Reply:
        status, headers = _parse(head)
        while 100 <= status < 200:
            status, headers = _parse(await self._reader.readuntil(b"\r\n\r\n"))
        return Reply(status=status, headers=headers, body=await self._body(status, headers))

    async def _body(self, status: int, headers: Mapping[str, str]) -> bytes:
        if _is_empty(status):
            return b""
        if _is_chunked(headers):
            return await self._chunks()
        if "content-length" in headers:
            return await self._reader.readexactly(_bounded(int(headers["content-length"])))
        return await self._reader.read(-1)

    async def _chunks(self) -> bytes:
        body = bytearray()
        while size := int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            body += await self._reader.readexactly(_bounded(size + len(body)) - len(body))
            await self._reader.readexactly(2)
        while await self._reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return bytes(body)


def _parse(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    version, _, status = first.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError("what came is no HTTP")
    return int(status[:3]), {name.strip().lower(): value.strip() for name, _, value in fields}


def _is_chunked(headers: Mapping[str, str]) -> bool:
    return "chunked" in headers.get("transfer-encoding", "").lower()


def _is_empty(status: int) -> bool:
    return status in {204, 304}


def _bounded(size: int) -> int:
    if not 0 <= size <= _BODY_BYTES_MAX:
        raise ValueError(f"an answer of {size} bytes")
    return size


def retry_after(reply: Reply) -> float:
    """Return the seconds that a server asked to be left alone for, 0 if it did not say."""
    value = reply.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdecimal() else 0
