"""The worker's start, told phase by phase: it is billed, so where its time goes must show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from gate import wire
from worker.clock import Clock
from worker.engine import Engine, WarmsUp
from worker.libraries import uncollected
from worker.log import EventLog

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a start took."""

    ms: int
    """Since the process began."""
    phases_ms: Mapping[str, int]
    """By phase, in their order: boot, find, import, load, warm-up."""


def start(open_engine: Callable[[], Engine], *, log: EventLog, clock: Clock, began_ms: float) -> tuple[Engine, Start]:
    """Make an engine ready for its first job.

    Args:
        open_engine: finds the model and says which engine serves it; it may download.
        log: gets one event for each phase.
        clock: measures them.
        began_ms: when this process began, on the clock's monotonic time.

    Returns:
        The engine, and what it took.
    """
    phases_ms: dict[str, int] = {}

    def timed(phase: str, step: Callable[[], _T], began_ms: float | None = None) -> _T:
        since_ms = clock.monotonic_ms() if began_ms is None else began_ms
        result = step()
        phases_ms[phase] = round(clock.monotonic_ms() - since_ms)
        log.info("worker.phase", phase=phase, ms=phases_ms[phase])
        return result

    timed("boot", lambda: None, began_ms)
    with uncollected():
        engine = timed("find", open_engine)
        timed("import", engine.import_libraries)
        timed("load", engine.load)
        timed("warm-up", lambda: warm_up(engine))
    return engine, Start(ms=max(1, round(clock.monotonic_ms() - began_ms)), phases_ms=phases_ms)


def warm_up(engine: Engine) -> None:
    """Make every library do its first-time work before somebody waits for it."""
    if isinstance(engine, WarmsUp):
        engine.warm_up()
    else:
        texts = ["warm up", "a second text, so that padding is tried too"]
        engine.compute(engine.prepare(wire.WorkBody(model="", inputs=texts, parameters={})).items)
