"""A bill: a line a thing that costs, each with its arithmetic. The total is the sum of its lines, always."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction

from gate.prices import Period
from twohop.cost.book import GPU, Book

_NANODOLLARS_PER_MICRODOLLAR = 1000
_NANODOLLARS_PER_DOLLAR = 10**9
_MS_PER_HOUR = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that costs."""

    key: str
    title: str
    provider: str
    quantity: Fraction
    unit: str
    nanodollars: Fraction
    """For one unit, before tiers."""
    free: Fraction
    """How much of the quantity was free."""
    microdollars: int
    """Rounded up."""
    as_of: date
    source: str
    note: str = ""
    why: str = ""
    """What the quantity is made of."""

    @property
    def is_gpu(self) -> bool:
        """True for what the GPU's provider bills."""
        return self.key.startswith(GPU) or self.key == "container_disk"

    def explained(self) -> str:
        """Return the arithmetic in words and numbers."""
        free = f" - {number(self.free)} free" if self.free else ""
        paid = f" = {number(self.quantity - self.free)}" if self.free else ""
        rate = f"${float(self.nanodollars) / _NANODOLLARS_PER_DOLLAR:.12f}".rstrip("0").rstrip(".")
        return (
            f"{self.title}: {number(self.quantity)} {self.unit}{free}{paid}; "
            f"x {rate} a {self.unit} = ${self.microdollars / 1e6:,.6f}, rounded up to a micro-dollar\n"
            + (f"the quantity is {self.why}\n" if self.why else "")
            + f"price read on {self.as_of}: {self.source}"
            + (f"\n{self.note}" if self.note else "")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """A month's bill."""

    lines: tuple[Line, ...]

    @property
    def microdollars(self) -> int:
        """The sum of the lines."""
        return sum(line.microdollars for line in self.lines)

    @property
    def gpu_microdollars(self) -> int:
        """What the GPU's provider bills."""
        return sum(line.microdollars for line in self.lines if line.is_gpu)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the lines."""
        return tuple(line.key for line in self.lines)

    def line(self, key: str) -> Line:
        """Return one line; KeyError if there is none."""
        return {line.key: line for line in self.lines}[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a month used."""

    gpu_ms: Mapping[str, int]
    """Billed worker time by part: useful, start, idle, rounding."""
    by_day: Mapping[str, Sequence[Fraction]]
    """Items by their name in the price table, a quantity a day."""
    why: Mapping[str, str] = field(default_factory=dict)
    """What the quantity of a line is made of, in words."""


GPU_PARTS = ("useful", "start", "idle", "rounding")
_GPU_TITLES = {
    "useful": "GPU useful seconds",
    "start": "GPU cold starts",
    "idle": "GPU idle tails",
    "rounding": "GPU rounding up",
}


def bill(used: Used, book: Book) -> Bill:
    """Price what was used. An item that the book does not know is a bug, and a KeyError."""
    gpu = [_gpu_line(part, milliseconds, book) for part, milliseconds in used.gpu_ms.items() if milliseconds]
    items = [_item_line(name, days, book) for name, days in used.by_day.items() if sum(days)]
    return Bill(lines=tuple(replace(line, why=used.why.get(line.key, "")) for line in (*gpu, *items)))


def _gpu_line(part: str, milliseconds: int, book: Book) -> Line:
    nanodollars = Fraction(milliseconds * book.gpu.nanodollars_per_hour, _MS_PER_HOUR)
    return Line(
        key=f"{GPU}_{part}",
        title=_GPU_TITLES[part],
        provider=book.provider,
        quantity=Fraction(milliseconds, 1000),
        unit="second",
        nanodollars=Fraction(book.gpu.nanodollars_per_hour, 3600),
        free=Fraction(0),
        microdollars=microdollars(nanodollars),
        as_of=book.gpu.as_of,
        source=book.gpu.source,
        note=book.billing.note,
    )


def _item_line(name: str, days: Sequence[Fraction], book: Book) -> Line:
    priced = book.items[name]
    quantity, free = sum(days, Fraction(0)), Fraction(0)
    if allowance := priced.rate.free:
        parts = days if allowance.period is Period.DAY else [quantity]
        free = sum((min(Fraction(part), Fraction(allowance.amount)) for part in parts), Fraction(0))
    return Line(
        key=name,
        title=priced.title,
        provider=priced.provider,
        quantity=quantity,
        unit=priced.unit,
        nanodollars=Fraction(priced.rate.nanodollars),
        free=free,
        microdollars=microdollars(priced.rate.nanodollars_for(quantity - free)),
        as_of=priced.rate.as_of,
        source=priced.rate.source,
        note=priced.rate.note,
    )


def microdollars(nanodollars: Fraction) -> int:
    """Return nano-dollars as whole micro-dollars, rounded up."""
    return -(-nanodollars.numerator // (nanodollars.denominator * _NANODOLLARS_PER_MICRODOLLAR))


def number(value: Fraction) -> str:
    """Return a quantity with as many decimals as say something."""
    return f"{float(value):,.3f}".rstrip("0").rstrip(".")
