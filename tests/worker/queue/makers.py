"""Makers of what the queue's tests need in one process: a client's server, a clock, a poster that refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from worker.queue.results.poster import Poster, Refusal

Answer = Callable[[bytes], bytes | None]


class MovingClock:
    """Time that passes as the loop's does, and jumps when told."""

    def __init__(self) -> None:
        self.frozen_ms = 0.0
        self.drift_ms = 0

    def monotonic_ms(self) -> float:
        return asyncio.get_running_loop().time() * 1_000 + self.frozen_ms

    def now_ms(self) -> int:
        return round(self.monotonic_ms()) + self.drift_ms


class ScriptedPoster(Poster):
    """Acknowledges what it is told to, after a while, and remembers all."""

    def __init__(self, *, refusals: int = 0, seconds: float = 0) -> None:
        self.bodies: list[bytes] = []
        self._refusals = refusals
        self._seconds = seconds

    async def post(self, job_id: str, body: bytes, *, worker_id: str) -> Refusal | None:
        return await self.post_part(job_id, body)

    async def post_part(self, job_id: str, body: bytes) -> Refusal | None:
        await asyncio.sleep(self._seconds)
        if self._refusals:
            self._refusals -= 1
            return Refusal(reason="not now")
        self.bodies.append(body)
        return None


class Server:
    """Answers each request of a connection with what a function makes of it; None closes the connection."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[bytes] = []
        self.heard = asyncio.Event()
        self.connections = 0
        self.url = ""
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head)
                self.heard.set()
                answer = self._answer(head)
                if answer is None:
                    break
                writer.write(answer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # the client left, or the test ended
        finally:
            writer.close()


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Server]:
    """Serve on a port of this machine for as long as the context lasts."""
    server = Server(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
