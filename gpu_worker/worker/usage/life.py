"""Who pays which part of the worker's billed life, so that its jobs together pay all of it, and nothing twice.

    start ─ gap ─ busy ─ gap ─ busy ─ … ─ busy ─ tail
    └ the first job pays the start, and in advance the tail, which hop 1 adds
              └ time with k jobs inside is paid by each of them to 1/k
                     └ a gap is paid by the job that ends it

What a job should have told and cannot, because it was refused, is told by the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

from worker.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one job pays of its worker's life, in whole milliseconds."""

    start_ms: int
    gap_ms: int
    share_ms: int
    life_ms: int
    """All that was told of this life, this part included."""


class Life:
    """Measures one worker's life. To be used from one thread, except for `started`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._inside = 0
        self._since_ms = clock.monotonic_ms()
        self._one_share_ms = 0.0
        """What one job would pay that has been inside all along: the integral of 1/k."""
        self._start_untold_ms = 0
        self._gap_untold_ms = 0.0
        self._share_untold_ms = 0.0
        self._told_ms = 0.0

    def started(self, start_ms: int) -> None:
        """Note that the worker is ready, and what that took. No job is inside yet."""
        self._start_untold_ms = start_ms
        self._gap_untold_ms = self._share_untold_ms = 0.0
        self._since_ms = self._clock.monotonic_ms()

    def enter(self) -> float:
        """Let a job in, and return what `share` needs at its end."""
        now_ms = self._clock.monotonic_ms()
        if self._inside:
            self._pass(now_ms)
        else:
            self._gap_untold_ms += now_ms - self._since_ms
            self._since_ms = now_ms
        self._inside += 1
        return self._one_share_ms

    def leave(self, entered: float) -> float:
        """Let a job out, and return its share of the time that it was inside, in milliseconds."""
        self._pass(self._clock.monotonic_ms())
        self._inside -= 1
        return self._one_share_ms - entered

    def leave_untold(self, share_ms: float) -> None:
        """Have the next job that is told pay the share of one that pays nothing."""
        self._share_untold_ms += share_ms

    def tell(self, share_ms: float) -> Part:
        """Return what a job pays whose share is this, and all that is untold until now."""
        life_ms = self._told_ms + self._start_untold_ms + self._gap_untold_ms + self._share_untold_ms + share_ms
        # Rounding the sum and not the parts: the parts then add up to it, however many there are.
        own_ms = round(life_ms) - round(self._told_ms)
        start_ms = self._start_untold_ms
        gap_ms = min(round(self._gap_untold_ms), own_ms - start_ms)
        self._told_ms = life_ms
        self._start_untold_ms, self._gap_untold_ms, self._share_untold_ms = 0, 0.0, 0.0
        return Part(
            start_ms=start_ms, gap_ms=gap_ms, share_ms=own_ms - start_ms - gap_ms, life_ms=max(1, round(life_ms))
        )

    def _pass(self, now_ms: float) -> None:
        self._one_share_ms += (now_ms - self._since_ms) / self._inside
        self._since_ms = now_ms
