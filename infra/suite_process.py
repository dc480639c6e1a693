"""Processes that end with all that they started, however this process ends itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_START_SECONDS_MAX = 180
_STOP_SECONDS_MAX = 20


class SuiteError(Exception):
    """The suite did not start. Carries the end of its log."""


@contextmanager
def process(command: list[str], *, env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a session of its own, so that it and all that it started can be stopped together."""
    with log.open("ab") as output:
        running = subprocess.Popen(  # our own programs
            command,
            cwd=log.parent,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        with _guard(running):
            yield running
    finally:
        _stop(running)


def wait_until(ready: Callable[[], bool], running: subprocess.Popen[bytes], name: str, log: Path) -> None:
    """Wait until it is ready.

    Raises:
        SuiteError: it ended, or time is up.
    """
    deadline = time.monotonic() + _START_SECONDS_MAX
    while not ready():
        if running.poll() is not None or time.monotonic() > deadline:
            end = log.read_text(errors="replace")[-4000:]
            raise SuiteError(f"{name} did not start; the log ends with:\n{end}")
        time.sleep(0.2)


@contextmanager
def _guard(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop a process group even if this process is killed: the guard's input ends then, and it wakes up."""
    script = f"read _; exec 2>/dev/null; kill -TERM -$0; sleep {_STOP_SECONDS_MAX}; kill -KILL -$0"
    command = ["sh", "-c", script, str(process.pid)]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # as above
    try:
        yield
    finally:
        # Killed, and waited for, before its input is closed: it has nothing to do any more.
        guard.kill()
        guard.communicate()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a process with all that it started, at first kindly.

    firebase-tools does not end the functions that it runs (firebase-tools#11069), but they are in its process group.
    The Firestore emulator is in one of its own, which firebase-tools ends unless it is ended itself before.
    """
    groups = _groups_below(process.pid) | {process.pid}
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS_MAX)
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    process.wait(_STOP_SECONDS_MAX)


def _groups_below(pid: int) -> set[int]:
    """Return the process groups of everything that a process started, near and far, where `ps` can tell."""
    if shutil.which("ps") is None:
        return set()
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,pgid="],  # noqa: S607  # ps is where PATH says
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    rows = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    below, groups = {pid}, set()
    while found := [row for row in rows if row[1] in below and row[0] not in below]:
        below |= {row[0] for row in found}
        groups |= {row[2] for row in found}
    return groups
