"""The bill: what the cloud takes for each worker's life, by a provider's own rules and with arithmetic of its own."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from gate.money import GpuPrice

_NANODOLLARS_PER_MICRODOLLAR = 1_000
_MS_PER_HOUR = 3_600_000


@dataclass(slots=True, kw_only=True)
class Life:
    """One worker's time in the cloud, in milliseconds since the cloud began; open while `ended_ms` is None."""

    pulled_ms: float
    """When the machine was taken: from here on the image is fetched."""
    booted_ms: float
    """When the container started: from here on the model is loaded."""
    ready_ms: float
    ended_ms: float | None = None
    jobs: int = 0
    """How many it has taken."""
    busy: list[tuple[float, float]] = field(default_factory=list)
    """Spans with a job; needed by those who do not bill idle time."""

    def end_by(self, at_ms: float) -> float:
        """Return when it ended, or the given time if it goes on."""
        return at_ms if self.ended_ms is None else min(self.ended_ms, at_ms)


class Bill:
    """What all workers cost. A price holds for the workers that start under it.

    Args:
        prices: with the time from which each holds, in milliseconds since the cloud began; the first at 0.
    """

    def __init__(self, prices: Sequence[tuple[float, GpuPrice]]) -> None:
        self._prices = sorted(prices, key=lambda entry: entry[0])
        self.lives: list[Life] = []

    def microdollars(self, at_ms: float) -> int:
        """Return what it comes to if everything ended now, rounded up once."""
        return math.ceil(sum((self._cost(life, at_ms) for life in self.lives), Fraction(0)))

    def billed_ms(self, at_ms: float) -> int:
        """Return the time that is billed."""
        return sum(self._billed_ms(life, at_ms) for life in self.lives)

    def jobless_microdollars(self, at_ms: float) -> int:
        """Return the part of workers that were started and got no job until now."""
        return math.ceil(sum((self._cost(life, at_ms) for life in self.lives if not life.jobs), Fraction(0)))

    def _price(self, life: Life) -> GpuPrice:
        begun = bisect_right([at for at, _ in self._prices], life.pulled_ms)
        return self._prices[max(begun - 1, 0)][1]

    def _cost(self, life: Life, at_ms: float) -> Fraction:
        rate = self._price(life).nanodollars_per_hour
        return Fraction(self._billed_ms(life, at_ms) * rate, _MS_PER_HOUR * _NANODOLLARS_PER_MICRODOLLAR)

    def _billed_ms(self, life: Life, at_ms: float) -> int:
        price, end = self._price(life), life.end_by(at_ms)
        used = max(0.0, end - life.ready_ms) if price.bills_idle else _within(life.busy, end)
        if price.bills_start:
            used += max(0.0, min(end, life.ready_ms) - life.booted_ms)
        if price.bills_image_pull:
            used += max(0.0, min(end, life.booted_ms) - life.pulled_ms)
        if used <= 0:
            return 0
        # A clock of floats: the millionth of a millisecond above a full second is no further second.
        granules = math.ceil(round(max(used, price.min_charge_ms), 3) / price.granularity_ms)
        return granules * price.granularity_ms


def _within(spans: Sequence[tuple[float, float]], end_ms: float) -> float:
    return sum(max(0.0, min(end, end_ms) - begin) for begin, end in spans)


def ms_since(epoch: datetime, at: datetime) -> float:
    """Return a time as milliseconds since the cloud began."""
    return (at - epoch).total_seconds() * 1000
