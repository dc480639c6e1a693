"""The worker's start, told phase by phase: it is billed, so where its time goes must show."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gate import wire
from worker.clock import Clock
from worker.engine import Engine, WarmsUp
from worker.log import EventLog

_T = TypeVar("_T")


def start(open_engine: Callable[[], Engine], *, log: EventLog, clock: Clock, began_ms: float) -> tuple[Engine, int]:
    """Make an engine ready for its first job.

    Args:
        open_engine: finds the model and says which engine serves it; it may download.
        log: gets one event for each phase.
        clock: measures them.
        began_ms: when this process began, on the clock's monotonic time.

    Returns:
        The engine, and the milliseconds since the process began.
    """
    log.info("worker.phase", phase="boot", ms=round(clock.monotonic_ms() - began_ms))
    engine = _timed("find", open_engine, log, clock)
    _timed("import", engine.import_libraries, log, clock)
    _timed("load", engine.load, log, clock)
    _timed("warm-up", lambda: warm_up(engine), log, clock)
    start_ms = max(1, round(clock.monotonic_ms() - began_ms))
    log.info("worker.ready", start_ms=start_ms)
    return engine, start_ms


def warm_up(engine: Engine) -> None:
    """Make every library do its first-time work before somebody waits for it."""
    if isinstance(engine, WarmsUp):
        engine.warm_up()
    else:
        texts = ["warm up", "a second text, so that padding is tried too"]
        engine.compute(engine.prepare(wire.WorkBody(model="", inputs=texts, parameters={})).items)


def _timed(phase: str, step: Callable[[], _T], log: EventLog, clock: Clock) -> _T:
    began_ms = clock.monotonic_ms()
    result = step()
    log.info("worker.phase", phase=phase, ms=round(clock.monotonic_ms() - began_ms))
    return result
