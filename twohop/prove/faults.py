"""A ledger that goes wrong: refuses before it writes, fails after it wrote, or takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gate.errors import LedgerError
from twohop.cloud.faults import Dice

TRAVEL_SECONDS_MAX = 0.02
"""How long a question takes to the ledger, and as long its answer."""
_TRAVEL_SECONDS_MIN = 0.002
WRITES = ("hold", "settle", "hand_over", "ask_to_cancel", "rebalance")
"""The methods that change something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFaults:
    """Probabilities, of one write each."""

    aborted: float = 0.0
    """Nothing was written."""
    unavailable_after: float = 0.0
    """It was written, and the answer got lost."""
    slow: float = 0.0
    """It takes some seconds more."""

    def __add__(self, other: LedgerFaults) -> LedgerFaults:
        """Have both go wrong."""
        names = self.__slots__
        return LedgerFaults(**{name: max(getattr(self, name), getattr(other, name)) for name in names})


class FaultyLedger:
    """Stands around a ledger, some way off: what others do while a word travels is drawn by dice."""

    def __init__(
        self, inner: Any, faults: LedgerFaults, dice: Dice, *, slow_seconds: float = 3.0, is_far: bool = True
    ) -> None:
        self._inner = inner
        self._faults = faults
        self._dice = dice
        self._slow_seconds = slow_seconds
        self._is_far = is_far

    def __getattr__(self, name: str) -> Any:
        """Return the ledger's method, with its faults if it writes."""
        method = getattr(self._inner, name)
        return self._writing(method) if name in WRITES else self._far(method)

    def _writing(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **options: Any) -> Any:
            if self._dice.hit("aborted", self._faults.aborted):
                raise LedgerError("a fault: aborted")
            if self._dice.hit("slow", self._faults.slow):
                await asyncio.sleep(self._slow_seconds)
            done = await self._far(method)(*args, **options)
            if self._dice.hit("unavailable_after", self._faults.unavailable_after):
                raise LedgerError("a fault: unavailable, after it was written")
            return done

        return call

    def _far(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        if not self._is_far:
            return method

        async def call(*args: Any, **options: Any) -> Any:
            travel = self._dice.of("travel")
            await asyncio.sleep(travel.uniform(_TRAVEL_SECONDS_MIN, TRAVEL_SECONDS_MAX))
            done = await method(*args, **options)
            await asyncio.sleep(travel.uniform(_TRAVEL_SECONDS_MIN, TRAVEL_SECONDS_MAX))
            return done

        return call
