"""The prices that a bill is made by, on one day. What-if is a book with one price multiplied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction

import msgspec

from gate import prices
from gate.money import GpuPrice, gpu_price
from gate.prices import Billing, Kind, Rate, Tier

GPU = "gpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """One item with its rate."""

    title: str
    unit: str
    provider: str
    rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """All prices of one forecast."""

    gpu: GpuPrice
    kind: Kind
    billing: Billing
    items: dict[str, Priced]

    @property
    def provider(self) -> str:
        """Who runs the GPU."""
        return self.gpu.hardware.partition("/")[0]

    def names(self) -> Iterator[str]:
        """Yield what `multiplied` knows."""
        yield GPU
        yield from self.items

    def multiplied(self, name: str, factor: Fraction) -> Book:
        """Return the book with one price multiplied, rounded up to a nano-dollar."""
        if name == GPU:
            per_hour = _ceil(self.gpu.nanodollars_per_hour * factor)
            return replace(self, gpu=msgspec.structs.replace(self.gpu, nanodollars_per_hour=per_hour))
        priced = self.items[name]
        rate = msgspec.structs.replace(
            priced.rate,
            nanodollars=_ceil(priced.rate.nanodollars * factor),
            tiers=tuple(Tier(above=t.above, nanodollars=_ceil(t.nanodollars * factor)) for t in priced.rate.tiers),
        )
        return replace(self, items={**self.items, name: replace(priced, rate=rate)})


def book_of(hardware: str, *, on: date) -> Book:
    """Return the prices in effect on a day.

    Raises:
        SettingsError: the hardware has no price; the message says what to add.
    """
    gpu = gpu_price(hardware, on=on)
    table = prices.load(hardware.partition("/")[0])
    assert table.billing is not None  # a table with hardware has it
    google = prices.load("google")
    sources = [("google", name, item) for name, item in google.items.items()]
    sources += [(table.provider, name, item) for name, item in table.items.items() if name == "container_disk"]
    items = {
        name: Priced(
            title=item.title,
            unit=item.unit,
            provider=provider,
            rate=prices.in_effect(item.history, on, f"{provider}/{name}"),
        )
        for provider, name, item in sources
    }
    return Book(gpu=gpu, kind=table.kind, billing=table.billing, items=items)


def _ceil(value: Fraction | int) -> int:
    return max(1, -(-Fraction(value).numerator // Fraction(value).denominator))
