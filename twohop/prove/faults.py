"""A ledger that goes wrong: refuses before it writes, fails after it wrote, or takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gate.errors import LedgerError
from twohop.cloud.faults import Dice
from twohop.cloud.virtual import outside

_WRITES = ("hold", "settle")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFaults:
    """Probabilities, of one write each."""

    aborted: float = 0.0
    """Nothing was written."""
    unavailable_after: float = 0.0
    """It was written, and the answer got lost."""
    slow: float = 0.0
    """It takes three seconds more."""


class FaultyLedger:
    """Stands around a ledger. Time stands still while the real one works."""

    def __init__(self, inner: Any, faults: LedgerFaults, dice: Dice) -> None:
        self._inner = inner
        self._faults = faults
        self._dice = dice

    def __getattr__(self, name: str) -> Any:
        """Return the ledger's method, with its faults if it writes."""
        method = getattr(self._inner, name)
        if not callable(method):
            return method
        return self._writing(method) if name in _WRITES else _still(method)

    def _writing(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **options: Any) -> Any:
            if self._dice.hit("aborted", self._faults.aborted):
                raise LedgerError("a fault: aborted")
            if self._dice.hit("slow", self._faults.slow):
                await asyncio.sleep(3)
            done = await _still(method)(*args, **options)
            if self._dice.hit("unavailable_after", self._faults.unavailable_after):
                raise LedgerError("a fault: unavailable, after it was written")
            return done

        return call


def _still(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def call(*args: Any, **options: Any) -> Any:
        with outside():
            return await method(*args, **options)

    return call
