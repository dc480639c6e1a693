"""An answer whose body is there leaves in one packet, over the servers that functions-framework may have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gate.endpoints.one_packet import send_at_once

BODY = b'{"result": 1}'


async def door(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer at once, or break off in the middle."""
    headers = [(b"content-length", b"%d" % len(BODY))]
    body = BODY[1:] if scope["path"] == "/short" else BODY
    head = {"type": "http.response.start", "status": 401, "headers": headers}
    await send_at_once(send, head, {"type": "http.response.body", "body": body})


class Spy:
    """A transport that remembers what is written to it."""

    def __init__(self, transport: Any, written: list[bytes]) -> None:
        self._transport = transport
        self._written = written

    def write(self, data: bytes) -> None:
        self._written.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@asynccontextmanager
async def serving(kind: type[Any], written: list[bytes]) -> AsyncIterator[int]:
    class Watched(kind):  # type: ignore[misc]  # one of two
        def connection_made(self, transport: Any) -> None:
            super().connection_made(Spy(transport, written))

    config = uvicorn.Config(door, log_level="critical", lifespan="off")
    config.load()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Watched(config, ServerState(), {}), "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def asked(port: int, *lines: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join([*lines, "host: here", "", ""]).encode())
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("kind", [HttpToolsProtocol, H11Protocol])
async def test_head_and_body_are_written_together(kind: type[Any]) -> None:
    """Each call of the system costs as much as checking a caller's limits."""
    written: list[bytes] = []
    async with serving(kind, written) as port:
        answer = await asked(port, "POST / HTTP/1.1", "connection: close")

    assert written == [answer]
    assert answer.startswith(b"HTTP/1.1 401")
    assert answer.endswith(b"\r\n\r\n" + BODY)


@pytest.mark.parametrize("kind", [HttpToolsProtocol, H11Protocol])
async def test_several_requests_on_one_connection_get_an_answer_each(kind: type[Any]) -> None:
    """Whatever was held back belongs to one answer alone."""
    written: list[bytes] = []
    async with serving(kind, written) as port:
        more = ("POST / HTTP/1.1", "host: here", "content-length: 0", "")
        answer = await asked(port, *more, *more, "POST / HTTP/1.1", "connection: close")

    assert len(written) == 3
    assert answer.count(BODY) == 3


@pytest.mark.parametrize("kind", [HttpToolsProtocol, H11Protocol])
async def test_an_answer_that_breaks_off_ends_the_connection(kind: type[Any]) -> None:
    """The server finds that a body is shorter than announced; nobody may wait for the rest."""
    written: list[bytes] = []
    async with serving(kind, written) as port:
        async with asyncio.timeout(30):
            answer = await asked(port, "POST /short HTTP/1.1")

    assert not answer.endswith(BODY)


async def test_what_else_a_server_asks_of_its_transport_comes_after_what_it_wrote() -> None:
    """The next version of a server may ask for what none asks for today."""

    class Transport:
        asked: ClassVar[list[bytes]] = []

        def write(self, data: bytes) -> None:
            self.asked.append(data)

        def writelines(self, lines: list[bytes]) -> None:
            self.asked.extend(lines)

    class Server:
        transport: Any = Transport()

        async def send(self, message: Message) -> None:
            if message["type"] == "http.response.start":
                self.transport.write(b"head")
            else:
                self.transport.writelines([b"body"])

    await send_at_once(Server().send, {"type": "http.response.start"}, {"type": "http.response.body"})
    assert Transport.asked == [b"head", b"body"]
