"""Two engines of one model, the second in place of the first once it is warm and has given the same numbers."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from gate import wire
from worker.engine import Engine, Item, Quick, Work
from worker.errors import BrokenDeviceError, ModelError
from worker.libraries import uncollected
from worker.log import EventLog
from worker.start import warm_up
from worker.turns import take_turns_at_once

COSINE_MIN = 0.999
_PATIENCE_SECONDS = 0.3
"""How long the first answer is waited for: to import torch holds up everything else for up to a second."""
_SAMPLE = (
    "a",
    "warm up",
    "the early engine and the one that follows must give the same numbers for this",
)


class RelayEngine:
    """Answers with the first engine at once, and with the second from when that is ready.

    Args:
        first: ready in a moment. If it cannot serve the model, the second is waited for, as if there were no first.
        second: the one to serve.
        log: gets when the second takes over, and how far apart the two are.
    """

    def __init__(self, first: Engine, second: Engine, *, log: EventLog) -> None:
        self._engine, self._second = first, second
        self._log = log
        self._failed: Exception | None = None
        self._cosine = 1.0
        self._answered = threading.Event()
        self._settled = threading.Event()

    def import_libraries(self) -> None:
        """Import what the first needs."""
        self._engine.import_libraries()

    def load(self) -> None:
        """Load the first, or else the second."""
        try:
            self._engine.load()
        except ModelError as exc:
            self._log.info("engine.not_early", reason=str(exc))
            self._engine = self._second
            self._second.import_libraries()
            self._second.load()

    def warm_up(self) -> None:
        """Warm up what is loaded, then have the second follow behind its back."""
        warm_up(self._engine)
        if self._engine is self._second:
            self._settled.set()
        else:
            threading.Thread(target=self._follow, name="follow", daemon=True).start()

    def check(self) -> None:
        """Wait until the second is in place.

        Raises:
            ModelError: it cannot be, or the two do not give the same numbers.
        """
        self._settled.wait()
        if self._failed is not None:
            raise ModelError(f"the engine that was to follow does not load: {self._failed}") from self._failed
        if self._cosine < COSINE_MIN:
            raise ModelError(f"the early engine gives other numbers, cosine {self._cosine:.4f}; set EARLY=off")

    @property
    def quick_bytes_max(self) -> int:
        """See `Quick`."""
        return self._second.quick_bytes_max if isinstance(self._second, Quick) else 0

    def prepare(self, body: wire.WorkBody) -> Work:
        """See `Engine.prepare`. An item is computed by the engine that prepared it."""
        engine = self._engine
        work = engine.prepare(body)
        items = [Item(length=item.length, payload=(engine, item)) for item in work.items]
        return Work(items=items, finish=work.finish)

    def compute(self, items: Sequence[Item]) -> Sequence[Any]:
        """See `Engine.compute`."""
        if self._failed is not None:
            raise BrokenDeviceError(f"the engine that was to follow does not load: {self._failed}")
        rows: dict[int, Any] = {}
        for engine in dict.fromkeys(item.payload[0] for item in items):
            mine = [place for place, item in enumerate(items) if item.payload[0] is engine]
            rows |= zip(mine, engine.compute([items[place].payload[1] for place in mine]), strict=True)
        self._answered.set()
        return [rows[place] for place in range(len(items))]

    def _follow(self) -> None:
        began = time.monotonic()
        self._answered.wait(_PATIENCE_SECONDS)
        take_turns_at_once()
        try:
            with uncollected():
                self._second.import_libraries()
                self._second.load()
                warm_up(self._second)
            cosine = min(_cosines(self._engine, self._second))
        except Exception as exc:
            # Whatever it is: a worker that stayed as slow as it began would be billed for it. The next job ends it.
            self._log.error("engine.follow_failed", exc)
            self._failed = exc
        else:
            # Of the two the second is the one that serves in any case; bake.py refuses a model on which they differ.
            tell: Callable[..., None] = self._log.info if cosine >= COSINE_MIN else self._log.warning
            tell("engine.handed_over", ms=round(1_000 * (time.monotonic() - began)), cosine_min=round(cosine, 6))
            self._cosine = cosine
            self._engine = self._second
        self._settled.set()


def _cosines(one: Engine, other: Engine) -> list[float]:
    body = wire.WorkBody(model="", inputs=list(_SAMPLE), parameters={})
    pairs = zip(*(engine.compute(engine.prepare(body).items) for engine in (one, other)), strict=True)
    return [_cosine(*pair) for pair in pairs]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0
