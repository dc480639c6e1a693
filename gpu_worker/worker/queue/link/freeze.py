"""Freezes: RunPod may stop a worker in the middle of a step, and go on with it minutes later, or on another machine.

Time has jumped then, and every connection is dead without either side having said so. What shows it is a clock that
went further than the sleep it measured: the monotonic one if the machine went on, the wall clock if it did not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from worker.clock import Clock

_TICK_SECONDS = 1.0
_JUMP_MS = 5_000
"""Less is a busy machine, or a clock that was set a little."""
_SETTLE_SECONDS = 0.05


async def watch_for_freezes(
    clock: Clock, on_freeze: Callable[[float], None], *, tick_seconds: float = _TICK_SECONDS
) -> None:
    """Call `on_freeze` with the milliseconds that are missing, after each freeze, until cancelled."""
    while True:
        monotonic_ms, wall_ms = clock.monotonic_ms(), clock.now_ms()
        await asyncio.sleep(tick_seconds)
        late_ms = clock.monotonic_ms() - monotonic_ms - tick_seconds * 1_000
        drift_ms = abs(clock.now_ms() - wall_ms - (clock.monotonic_ms() - monotonic_ms))
        if max(late_ms, drift_ms) > _JUMP_MS:
            # What had come before the freeze is read first; it may be a job.
            await asyncio.sleep(_SETTLE_SECONDS)
            on_freeze(max(late_ms, drift_ms))
