"""The clients: each keeps one connection, sends a text, waits for its answer, and sends the next.

They speak HTTP by hand over asyncio's streams, so that they take little of a core; `fixed.py` tells how little.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from itertools import count

_SECONDS_MAX = 120.0
"""A round that takes so much longer than it should is given up."""
_PROBE_SECONDS_MAX = 60.0
_HEAD_END = b"\r\n\r\n"

MakeRequest = Callable[[int], bytes]
"""Returns the bytes to send for the text of this number; called once for each sending."""


class ProtocolError(Exception):
    """An answer that is not the HTTP that was asked for."""


@dataclass(slots=True, kw_only=True)
class Round:
    """What a round gave."""

    seconds: float = 0
    """From the first sending to the last answer, for everything that was sent was answered."""
    latencies_ms: list[float] = field(default_factory=list)
    kept: list[tuple[int, bytes]] = field(default_factory=list)
    """The number and the answer of each text that was to be kept."""
    failures: list[str] = field(default_factory=list)

    @property
    def texts_per_second(self) -> float:
        """Return what was answered well, by the time."""
        return len(self.latencies_ms) / self.seconds if self.seconds else 0.0


def run_round(
    port: int, make_request: MakeRequest, *, clients: int, seconds: float, first: int, keep: Container[int]
) -> Round:
    """Send texts for so many seconds, then wait for the answers that are still out.

    What is counted is all that was sent over all the time that it took, since a server that answers in batches has
    many under way at any moment where one could stop the clock.

    Args:
        port: of the server, on this machine.
        make_request: makes what is sent.
        clients: that send, each one text at a time.
        seconds: after which no more is sent.
        first: the number of the first text.
        keep: the numbers whose answers are to be kept.
    """
    return asyncio.run(_round(port, make_request, clients=clients, seconds=seconds, first=first, keep=keep))


async def _round(
    port: int, make_request: MakeRequest, *, clients: int, seconds: float, first: int, keep: Container[int]
) -> Round:
    done, numbers = Round(), count(first)
    async with asyncio.timeout(seconds + _SECONDS_MAX):
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
        began = time.perf_counter()

        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while (sent := time.perf_counter()) - began < seconds:
                number = next(numbers)
                writer.write(make_request(number))
                try:
                    status, body = await _read(reader)
                except (OSError, asyncio.IncompleteReadError, ProtocolError) as exc:
                    done.failures.append(repr(exc))
                    return
                if status != 200:
                    done.failures.append(f"{status}: {body[:200]!r}")
                    return
                done.latencies_ms.append(1000 * (time.perf_counter() - sent))
                if number in keep:
                    done.kept.append((number, body))

        await asyncio.gather(*(client(*connection) for connection in connections))
        done.seconds = time.perf_counter() - began
        for _, writer in connections:
            writer.close()
    return done


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(_HEAD_END)
    return _status(head), await reader.readexactly(_length(head))


def ask(port: int, request: bytes) -> tuple[int, bytes]:
    """Send one request on a connection of its own, and return the answer's status and body.

    Raises:
        OSError: nobody listens, or nobody answers.
        ProtocolError: the connection ended early, or the answer is of a kind that is not read here.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=_PROBE_SECONDS_MAX) as connection:
        connection.sendall(request)
        answer = b""
        while _HEAD_END not in answer or len(answer) < answer.index(_HEAD_END) + 4 + _length(answer):
            part = connection.recv(1 << 16)
            if not part:
                raise ProtocolError("the connection ended before the answer did")
            answer += part
    return _status(answer), answer[answer.index(_HEAD_END) + 4 :]


def _status(head: bytes) -> int:
    return int(head[9:12])


def _length(answer: bytes) -> int:
    length = answer.partition(_HEAD_END)[0].lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    if not length:
        raise ProtocolError("the answer does not say how long it is")
    return int(length)
