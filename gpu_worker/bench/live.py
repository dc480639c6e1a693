"""Servers that are up: started, asked, and their answers compared with plain `transformers` in fp32."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.clients import ProtocolError, ask
from bench.figures import cosine
from bench.processes import Process, running
from bench.servers import Server
from twohop.loopback import free_port

_START_SECONDS_MAX = 180.0
_POLL_SECONDS = 0.02
"""Asking more often would take time from a server that is loading."""
_KEPT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")


class BenchError(Exception):
    """Something that is to be compared does not work; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a server needs to be started with."""

    programs: Path
    """The folder of its environment's programs."""
    model: Path
    logs: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A server that has answered."""

    server: Server
    process: Process
    port: int
    start_seconds: float
    """From the process's beginning to its first answer."""

    def embed(self, text: str) -> Sequence[float]:
        """Return a text's vector.

        Raises:
            BenchError: it did not answer with one.
        """
        status, body = ask(self.port, self.server.request(text)())
        if status != 200:
            raise BenchError(f"{self.server.name} answered {status}: {body[:300]!r}")
        return self.server.read(body)


@contextmanager
def live(server: Server, place: Place, *, core: int | None) -> Iterator[Live]:
    """Start a server, wait for its first answer, and stop it with the context.

    Args:
        server: to start.
        place: what with.
        core: that it is kept on; None lets it have the machine.

    Raises:
        BenchError: it does not answer.
    """
    port = free_port()
    log_path = place.logs / f"{server.name.replace(' ', '-').lower()}.log"
    command = server.command(place.programs, place.model, port)
    began = time.perf_counter()
    with running(command, env=_environment(server, port, core), log_path=log_path, core=core) as process:
        first = server.request("hello")
        while not _answers(port, first()):
            if process.ended or time.perf_counter() - began > _START_SECONDS_MAX:
                raise BenchError(f"{server.name} does not start; the end of its log:\n{process.last_words()}")
            time.sleep(_POLL_SECONDS)
        yield Live(server=server, process=process, port=port, start_seconds=time.perf_counter() - began)


def least_cosine(server: Server, answers: Sequence[tuple[int, bytes]], right: Mapping[int, Sequence[float]]) -> float:
    """Return the worst agreement of answers with the right vectors, by the texts' numbers; 1 if there are none."""
    return min((cosine(server.read(body), right[number]) for number, body in answers), default=1.0)


def base_environment() -> dict[str, str]:
    """Return the environment that every process has: no network for models, and no setting of whoever runs this."""
    return {**{name: os.environ[name] for name in _KEPT if name in os.environ}, "HF_HUB_OFFLINE": "1"}


def _environment(server: Server, port: int, core: int | None) -> dict[str, str]:
    # torch counts the cores itself, but not every library does; on one core a second thread only waits.
    threads = {} if core is None else {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return {**base_environment(), **threads, **server.env, "PORT": str(port)}


def _answers(port: int, request: bytes) -> bool:
    try:
        return ask(port, request)[0] == 200
    except (OSError, ProtocolError):
        return False
