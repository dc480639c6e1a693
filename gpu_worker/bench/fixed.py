"""A server that computes nothing: it gives one answer, after a while. `python -m bench.fixed PORT SECONDS ANSWER`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

_BACKLOG = 4_096


def command(port: int, answer: str, *, seconds: float = 0) -> Sequence[str]:
    """Return the command that serves an answer.

    Args:
        port: to listen on.
        answer: a body of JSON.
        seconds: how long each request waits for it.
    """
    return [sys.executable, "-m", "bench.fixed", str(port), str(seconds), answer]


async def _serve(port: int, seconds: float, answer: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)

    async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                length = int(request.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                if seconds:
                    await asyncio.sleep(seconds)
                writer.write(head + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(give, "127.0.0.1", port, backlog=_BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3].encode()))
