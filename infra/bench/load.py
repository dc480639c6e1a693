"""The load: `wrk` on one core, which takes a few per cent of what any of these servers takes for a call."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("post.lua")
_TIMEOUT_SECONDS = 30
_MARK = "bench: "


class LoadError(Exception):
    """The load could not be made, or nothing answered it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent: to one address, one body, each call with the next of the tokens."""

    url: str
    body: str
    headers: Mapping[str, str]
    tokens: Sequence[str] = ()
    """Go around, as bearers; none are sent if there are none."""

    def request(self) -> bytes:
        """Return one call, as it goes over the wire."""
        host, _, path = self.url.removeprefix("http://").partition("/")
        bearer = {"authorization": f"Bearer {self.tokens[0]}"} if self.tokens else {}
        fields = {"host": host, **self.headers, **bearer, "content-length": str(len(self.body))}
        lines = [f"POST /{path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return ("\r\n".join(lines) + "\r\n\r\n" + self.body).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came back."""

    calls_per_second: float
    """Of those answered with the status that is expected."""
    p50_ms: float
    p99_ms: float
    calls: int
    failures: int
    """Connections that broke or timed out."""
    statuses: Mapping[str, int]

    @property
    def wrong(self) -> int:
        """Return the calls that were not answered as expected."""
        return self.failures + sum(self.statuses.values()) - self.calls


def send(
    load: Load, *, clients: int, seconds: float, core: int | None, folder: Path, expected: int = 200
) -> Answered:
    """Send calls for some seconds: so many clients, each one call at a time on one connection.

    Raises:
        LoadError: there was no answer with the expected status.
    """
    job = folder / "load.json"
    fields = {"body": load.body, "headers": dict(load.headers), "tokens": list(load.tokens)}
    job.write_text("\n".join(_lines(fields)), "utf-8")
    command = [_wrk(), "-t1", f"-c{clients}", f"-d{seconds:g}s", f"--timeout={_TIMEOUT_SECONDS}s"]
    pinned = ["taskset", "--cpu-list", str(core)] if core is not None else []
    done = subprocess.run(
        [*pinned, *command, "-s", str(_SCRIPT), load.url, "--", str(job)],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 2 * _TIMEOUT_SECONDS,
    )
    told = [line.removeprefix(_MARK) for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if not told:
        raise LoadError(f"wrk failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    answered = _answered(json.loads(told[-1]), expected)
    if not answered.calls:
        raise LoadError(f"{load.url} answered nothing with {expected}: {dict(answered.statuses)}")
    return answered


def _answered(told: Mapping[str, float], expected: int) -> Answered:
    statuses = {name[1:]: int(count) for name, count in told.items() if name.startswith("s") and name[1:].isdigit()}
    calls = statuses.get(str(expected), 0)
    return Answered(
        calls_per_second=calls / (told["duration_us"] / 1e6),
        p50_ms=told["p50_us"] / 1000,
        p99_ms=told["p99_us"] / 1000,
        calls=calls,
        failures=int(told["failures"]),
        statuses=statuses,
    )


def _lines(fields: Mapping[str, object]) -> list[str]:
    """Return the load as lines that Lua reads without a parser: body, headers, a blank line, tokens."""
    body, headers, tokens = fields["body"], fields["headers"], fields["tokens"]
    assert isinstance(headers, dict)
    assert isinstance(tokens, list)
    return [str(body), *(f"{name}: {value}" for name, value in headers.items()), "", *tokens]


def _wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        raise LoadError("wrk is not installed: apt-get install wrk")
    return found
