"""Servers as processes of their own: kept on one core, watched, and gone when the measurement is over."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.machine import ask_cards

_PROC = Path("/proc")
_STOP_SECONDS_MAX = 20.0
_PARENT, _USER_TICKS, _SYSTEM_TICKS = 1, 11, 12
"""Places in /proc/PID/stat behind the process's name."""


class Process:
    """A running process and its children."""

    def __init__(self, started: subprocess.Popen[str], log_path: Path) -> None:
        self.started = started
        self.log_path = log_path

    @property
    def ended(self) -> bool:
        """Tell whether it ended by itself."""
        return self.started.poll() is not None

    def last_words(self) -> str:
        """Return the end of what it wrote."""
        return "\n".join(self.log_path.read_text("utf-8", "replace").splitlines()[-12:])

    def cpu_seconds(self) -> float:
        """Return what it has computed so far, with its children; 0 where the system does not tell."""
        ticks = sum(int(stat[_USER_TICKS]) + int(stat[_SYSTEM_TICKS]) for stat in self._tree().values())
        return ticks / os.sysconf("SC_CLK_TCK")

    def peak_mb(self) -> float:
        """Return the most memory that it had, with its children's most; 0 where the system does not tell."""
        return sum(_peak_mb(pid) for pid in self._tree())

    def resident_mb(self) -> float:
        """Return the memory that it has now, pages that its processes share counted once; 0 if nobody tells."""
        return sum(_resident_mb(pid) for pid in self._tree())

    def card_mb(self) -> float:
        """Return the memory of graphics cards that it has now, with its children's; 0 if nobody tells."""
        tree = self._tree()
        told = [line.split(", ") for line in ask_cards("compute-apps", ("pid", "used_memory"))]
        return sum(float(used.partition(" ")[0]) for pid, used in told if int(pid) in tree and used[:1].isdigit())

    def _tree(self) -> dict[int, list[str]]:
        """Return the stat of the process and of each process below it, by id."""
        stats = {int(path.name): _stat(path) for path in _PROC.glob("[0-9]*")}
        tree = {self.started.pid: stats.get(self.started.pid, [])}
        added = True
        while added:
            below = {pid: stat for pid, stat in stats.items() if stat and int(stat[_PARENT]) in tree}
            added = not below.keys() <= tree.keys()
            tree |= below
        return {pid: stat for pid, stat in tree.items() if stat}


@contextmanager
def running(
    command: Sequence[str], *, env: Mapping[str, str], log_path: Path, core: int | None = None
) -> Iterator[Process]:
    """Run a command in a process group of its own, which ends with the context.

    Args:
        command: to run.
        env: all of its environment.
        log_path: where what it writes goes.
        core: that it is kept on, if the system has `taskset`.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("w", encoding="utf-8") as log:
        started = subprocess.Popen(
            [*_kept_on(core), *command],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        yield Process(started, log_path)
    finally:
        _end(started)


def can_keep() -> bool:
    """Tell whether a command can be kept on a core."""
    return shutil.which("taskset") is not None


def _kept_on(core: int | None) -> list[str]:
    taskset = shutil.which("taskset")
    return [taskset, "--cpu-list", str(core)] if taskset and core is not None else []


def _end(started: subprocess.Popen[str]) -> None:
    started.terminate()
    with suppress(subprocess.TimeoutExpired):
        started.wait(_STOP_SECONDS_MAX)
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()


def _stat(path: Path) -> list[str]:
    """Return the fields behind the process's name, which may hold spaces itself; none if it has ended."""
    try:
        return (path / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []


def _peak_mb(pid: int) -> float:
    with suppress(OSError):
        for line in (_PROC / str(pid) / "status").read_text("utf-8", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _resident_mb(pid: int) -> float:
    with suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text("utf-8", "replace").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0
