"""An engine that is preferred, and the one that takes its place when it cannot serve a model exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gate import wire
from worker.engine import Engine, Item, Quick, Work
from worker.errors import ModelError, NoDeviceError
from worker.log import EventLog


class PreferredEngine:
    """Serves with the first engine that loads.

    Args:
        first: the fast one; `ModelError` from loading it means that it would not serve this model exactly.
        otherwise: makes the general one, when it is needed.
        log: gets which it is, and why.
    """

    def __init__(self, first: Engine, otherwise: Callable[[], Engine], *, log: EventLog) -> None:
        self._engine = first
        self._otherwise = otherwise
        self._log = log

    def import_libraries(self) -> None:
        """Import what the first engine needs."""
        self._engine.import_libraries()

    def load(self) -> None:
        """Load the first engine, or else the other one, unless neither can."""
        try:
            self._engine.load()
        except NoDeviceError:
            raise
        except ModelError as exc:
            self._log.warning("engine.not_preferred", engine=type(self._engine).__name__, reason=str(exc))
            self._engine = self._otherwise()
            self._engine.import_libraries()
            self._engine.load()
        self._log.info("engine.chosen", engine=type(self._engine).__name__)

    @property
    def quick_bytes_max(self) -> int:
        """See `Quick`."""
        return self._engine.quick_bytes_max if isinstance(self._engine, Quick) else 0

    def prepare(self, body: wire.WorkBody) -> Work:
        """See `Engine.prepare`."""
        return self._engine.prepare(body)

    def compute(self, items: Sequence[Item]) -> Sequence[Any]:
        """See `Engine.compute`."""
        return self._engine.compute(items)
