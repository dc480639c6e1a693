"""A wire that loses answers: a TCP proxy that can withhold what the server says, and then break the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_WAIT_SECONDS_MAX = 10.0


class LossyProxy:
    """Stands before a server. Requests always arrive; whether the answers do, is up to the test."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self.withholding = False
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Begin to listen, and return where."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def withhold(self) -> None:
        """From now on no answer reaches the client."""
        self.withholding = True

    def cut(self) -> None:
        """Break all connections. New ones work."""
        self.withholding = False
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def cut_once(self, it_took: Callable[[], Awaitable[bool]]) -> None:
        """Wait until the withheld request had its effect, then break the connections."""
        async with asyncio.timeout(_WAIT_SECONDS_MAX):
            while not await it_took():  # noqa: ASYNC110 - the effect is in another process
                await asyncio.sleep(0.01)
        self.cut()

    async def close(self) -> None:
        """Stop listening."""
        self.cut()
        if self._server:
            self._server.close()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        self._writers += [writer, server_writer]
        for pump in (self._pump(reader, server_writer, False), self._pump(server_reader, writer, True)):
            task = asyncio.create_task(pump)
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        try:
            while chunk := await reader.read(65_536):
                if not (answers and self.withholding):
                    writer.write(chunk)
        except OSError:
            pass  # It was cut.
        writer.transport.abort()
