"""Kept connections against servers that behave, and servers that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gate.connections import KeptConnections
from gate.exchanges import BrokenOffError, NotSentError, SilenceError, body_of

TIMEOUTS = {"connect": 2.0, "pool": 2.0, "write": 2.0, "read": 2.0}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Served:
    """A server's port, and how many connections were made to it."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[Served]:
    told = Served()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.connections += 1
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    told.port = server.sockets[0].getsockname()[1]
    async with server:
        yield told


def answering(*answers: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            await reader.readexactly(length)
            writer.write(answer)
            await writer.drain()
        await reader.read()

    return serve


@pytest.fixture
async def connections() -> AsyncIterator[KeptConnections]:
    made = KeptConnections(connections_max=2, kept_seconds=5)
    yield made
    await made.aclose()


async def ask(
    connections: KeptConnections, port: int, *, headers: dict[str, str] | None = None, **timeouts: float
) -> bytes:
    url, limits = f"http://127.0.0.1:{port}/infer", {**TIMEOUTS, **timeouts}
    return await body_of(await connections.exchange("POST", url, headers or {}, b"body", limits), limits["read"])


async def test_a_connection_is_used_again(connections: KeptConnections) -> None:
    """That is what they are kept for."""
    async with served(answering(OK, OK, OK)) as server:
        bodies = [await ask(connections, server.port) for _ in range(3)]

    assert bodies == [b"hi"] * 3
    assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi", id="chunked"
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"hi", id="interim"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="nothing"),
    ],
)
async def test_every_way_of_saying_how_long_an_answer_is(
    connections: KeptConnections, answer: bytes, body: bytes
) -> None:
    async with served(answering(answer, OK)) as server:
        assert await ask(connections, server.port) == body
        assert await ask(connections, server.port) == b"hi"

    assert server.connections == 1


async def test_an_answer_that_ends_with_its_connection_is_whole(connections: KeptConnections) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhi")
        await writer.drain()

    async with served(serve) as server:
        assert await ask(connections, server.port) == b"hi"


async def test_an_answer_that_breaks_off_is_an_error(connections: KeptConnections) -> None:
    """Half an answer must never look like a whole one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhi")
        await writer.drain()

    async with served(serve) as server:
        with pytest.raises(BrokenOffError):
            await ask(connections, server.port)


async def test_what_nobody_asked_for_is_nobodys_answer(connections: KeptConnections) -> None:
    """A host that sends one answer too many must not have it taken for the next caller's."""
    async with served(answering(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother", OK)) as server:
        assert await ask(connections, server.port) == b"hi"
        await asyncio.sleep(0.05)
        assert await ask(connections, server.port) == b"hi"

    assert server.connections == 2


async def test_a_connection_that_the_host_closed_is_not_used(connections: KeptConnections) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()

    async with served(serve) as server:
        await ask(connections, server.port)
        await asyncio.sleep(0.05)
        await ask(connections, server.port)

    assert server.connections == 2


async def test_silence_is_a_timeout(connections: KeptConnections) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with served(serve) as server:
        with pytest.raises(SilenceError):
            await ask(connections, server.port, read=0.05)


async def test_who_is_cancelled_gives_the_place_back(connections: KeptConnections) -> None:
    """A place that is lost at each caller who leaves would end in no places at all."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with served(serve) as silent, served(answering(OK)) as server:
        asking = [asyncio.ensure_future(ask(connections, silent.port)) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(NotSentError):
            await ask(connections, server.port, pool=0.05)
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

        assert await ask(connections, server.port) == b"hi"


async def test_nobody_listening_is_an_error_before_anything_is_sent(connections: KeptConnections) -> None:
    async with served(answering(OK)) as server:
        port = server.port
    with pytest.raises(NotSentError):
        await ask(connections, port)


@pytest.mark.parametrize("answer", [b"220 mail.example.com ESMTP\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000])
async def test_what_is_no_answer_is_an_error(connections: KeptConnections, answer: bytes) -> None:
    """Another protocol, or headers without end."""
    async with served(answering(answer)) as server:
        with pytest.raises(BrokenOffError):
            await ask(connections, server.port)


async def test_a_header_with_a_line_break_is_never_sent(connections: KeptConnections) -> None:
    """It would be a second header, or a second request."""
    async with served(answering(OK)) as server:
        with pytest.raises(NotSentError):
            await ask(connections, server.port, headers={"x-key": "a\r\nx-other: b"})
