"""Counts what hop 1 writes and calls, and kills the process at one point: nothing is said, nothing cleaned up."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gate.exchanges import Exchanges, Reply, Timeouts

COMMIT = "commit"
"""A step on the way to Firestore, whose ledger may take two for one call."""


class Steps:
    """The steps of a process. A point is `before` or `after`, a step's name, and its number among those of this name.

    Args:
        dies: the point at which the process dies; None if it lives.
    """

    def __init__(self, dies: str | None) -> None:
        self.made: Counter[str] = Counter()
        self._dies = dies

    def around(self, inner: Any, names: Collection[str]) -> Any:
        """Return an adapter whose methods of these names are steps."""
        return _Stepping(inner, names, self)

    def begin(self, name: str) -> str:
        """Take note that a step is about to be made, and return what it is called."""
        self.made[name] += 1
        step = f"{name} {self.made[name]}"
        self._pass_by(f"before {step}")
        return step

    def end(self, step: str) -> None:
        """Take note that it was made, before anybody is told."""
        self._pass_by(f"after {step}")

    def _pass_by(self, point: str) -> None:
        if point == self._dies:
            os.kill(os.getpid(), signal.SIGKILL)


class _Stepping:
    def __init__(self, inner: Any, names: Collection[str], steps: Steps) -> None:
        self._inner = inner
        self._names = names
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._step(name, found) if name in self._names else found

    def _step(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **options: Any) -> Any:
            step = self._steps.begin(name)
            done = await method(*args, **options)
            self._steps.end(step)
            return done

        return call


class SteppingWire:
    """Sends requests to Firestore; each commit is a step."""

    def __init__(self, inner: Exchanges, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Reply:
        """See `Exchanges.exchange`."""
        if not url.endswith(":commit"):
            return await self._inner.exchange(method, url, headers, body, timeouts)
        step = self._steps.begin(COMMIT)
        reply = await self._inner.exchange(method, url, headers, body, timeouts)
        self._steps.end(step)
        return reply

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
