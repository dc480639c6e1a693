"""Faults of the fake queue: what goes wrong with which call, by script or by chance.

A script is for tests: the first take is refused, the second one is answered. Chance is for chaos, and is seeded, so
that what went wrong once goes wrong again.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping
from enum import StrEnum


class Call(StrEnum):
    """What a worker calls."""

    TAKE = "take"
    STOP = "stop"
    DONE = "done"
    STREAM = "stream"
    PING = "ping"


class Fault(StrEnum):
    """What goes wrong."""

    NONE = "none"
    BAD_REQUEST = "400"
    TOO_MANY = "429"
    BROKEN = "500"
    LOST = "lost"
    """Heard and done, but the answer never arrives."""
    UNHEARD = "unheard"
    """The connection ends before the queue did anything."""
    TWICE = "twice"
    """Jobs that are taken are delivered a second time, at once."""
    CROSSED = "crossed"
    """If the worker hangs up this question, a job was already on its way to it."""

    @property
    def status(self) -> int | None:
        """The status it is answered with, if it is answered."""
        return int(self) if self.isdigit() else None


class Faults:
    """Chooses a fault for each call.

    Args:
        script: for each call, what happens first, second and so on; afterwards, chance decides.
        chances: for each call, the faults that happen and how often, from 0 to 1.
        seed: of that chance.
    """

    def __init__(
        self,
        script: Mapping[Call, Iterable[Fault]] | None = None,
        *,
        chances: Mapping[Call, Mapping[Fault, float]] | None = None,
        seed: int = 0,
    ) -> None:
        self._script = {call: deque(faults) for call, faults in (script or {}).items()}
        self._chances = dict(chances or {})
        self._rng = random.Random(seed)  # noqa: S311 - it is to be repeatable

    def script(self, call: Call, *faults: Fault) -> None:
        """Add to what happens next."""
        self._script.setdefault(call, deque()).extend(faults)

    def clear(self) -> None:
        """Forget the script and the chances: nothing goes wrong any more."""
        self._script.clear()
        self._chances.clear()

    def next(self, call: Call) -> Fault:
        """Return what happens to this call."""
        if self._script.get(call):
            return self._script[call].popleft()
        thrown = self._rng.random()
        for fault, chance in self._chances.get(call, {}).items():
            thrown -= chance
            if thrown < 0:
                return fault
        return Fault.NONE


def parse_chance(text: str) -> tuple[Call, Fault, float]:
    """Read `call:fault=chance`, such as `done:lost=0.1`.

    Raises:
        ValueError: it is not that.
    """
    name, _, chance = text.partition("=")
    call, _, fault = name.partition(":")
    return Call(call), Fault(fault), float(chance)
