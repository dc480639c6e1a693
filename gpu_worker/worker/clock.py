"""Time: what hour it is, for expiries, and how long something took, for the bill."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The time, so that tests can set it."""

    def now_ms(self) -> int:
        """Return the wall clock's milliseconds since 1970 UTC. It may jump."""
        ...

    def monotonic_ms(self) -> float:
        """Return milliseconds of a clock that never goes back, so that differences can be billed."""
        ...


class SystemClock:
    """This machine's clocks."""

    def now_ms(self) -> int:
        """Return the wall clock's milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> float:
        """Return the monotonic clock's milliseconds."""
        return time.monotonic_ns() / 1_000_000
