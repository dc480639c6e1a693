"""Cold starts: from a process's beginning to its first vector, in turns, with the files in memory and without."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bench.live import BenchError, Place, base_environment, live
from bench.machine import drop_caches
from bench.processes import running
from bench.servers import HERE, OURS, Device, Server

TORCH_FIRST = f"{OURS}, EARLY=off"
"""Whose first answer waits for torch."""
PIPELINE = "transformers pipeline, no server"
_POLL_SECONDS = 0.005
_SECONDS_MAX = 180.0

Start = Callable[[], float]
"""Starts something, and returns the seconds to its first vector."""


def starts(servers: Sequence[Server], places: Mapping[str, Place], device: Device) -> dict[str, Start]:
    """Return what is to be started, by name. Nothing is kept on a core: imports may use all of them."""
    named = {server.name: _server(server, places[server.name]) for server in servers}
    ours = next(server for server in servers if server.name == OURS)
    torch_first = replace(ours, name=TORCH_FIRST, env={**ours.env, "EARLY": "off"})
    named = {OURS: named[OURS], TORCH_FIRST: _server(torch_first, places[OURS]), **named}
    return named | {
        PIPELINE: _pipeline(next(iter(places[name] for name in places if "transformers" in name)), device)
    }


def measure(
    named: Mapping[str, Start], *, rounds: int, dropping: bool, say: Callable[[str], None]
) -> dict[str, list[float]] | None:
    """Return the seconds of each start, by name and round.

    Args:
        named: what to start.
        rounds: how often.
        dropping: whether the system is made to forget all files before each.
        say: is told what was measured.

    Returns:
        None if the system may not be made to forget files.
    """
    taken: dict[str, list[float]] = {name: [] for name in named}
    for number in range(rounds):
        for name, start in named.items():
            if dropping and not drop_caches():
                return None
            taken[name].append(start())
            files = "read from disk" if dropping else "in memory"
            say(f"start {number + 1}  files {files:14}  {name:32} {taken[name][-1]:8.2f} s")
    return taken


def _server(server: Server, place: Place) -> Start:
    def start() -> float:
        with live(server, place, core=None) as one:
            return one.start_seconds

    return start


def _pipeline(place: Place, device: Device) -> Start:
    command = [str(place.programs / "python"), str(HERE / "peers" / "pipeline_start.py"), str(place.model), device]

    def start() -> float:
        log_path = place.logs / "pipeline.log"
        began = time.perf_counter()
        with running(command, env=base_environment(), log_path=log_path) as process:
            ended = False
            while not log_path.read_text("utf-8").endswith(" tokens\n"):
                if ended or time.perf_counter() - began > _SECONDS_MAX:
                    raise BenchError(f"the pipeline does not start:\n{process.last_words()}")
                # Asked before its last words are read, or they would be missed.
                ended = process.ended
                time.sleep(_POLL_SECONDS)
            return time.perf_counter() - began

    return start
