"""What if a price or an assumption is half, twice or ten times what it is, or moves as others' did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import msgspec
from msgspec.inspect import FloatType, IntType, type_info

from gate.prices import Kind
from twohop.cost.bill import bill
from twohop.cost.book import GPU, Book
from twohop.cost.compare import smaller
from twohop.cost.forecast import Forecast, changed, forecast
from twohop.cost.scenario import Scenario
from twohop.cost.shocks import ALWAYS_ON, MACHINE, Shock
from twohop.cost.use import used

FACTORS = (Fraction(1, 2), Fraction(2), Fraction(10))

_NOT_SWUNG = {"days", "seed"}
"""Numbers of the scenario that are no assumptions about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swing:
    """What the bill becomes when one thing is multiplied, in micro-dollars by factor."""

    name: str
    is_price: bool
    microdollars: dict[Fraction, int]

    def widest(self, base: int) -> int:
        """How far the bill goes from its base at most."""
        return max(abs(value - base) for value in self.microdollars.values())


def tornado(scenario: Scenario, book: Book) -> tuple[Forecast, list[Swing]]:
    """Return the forecast and every swing of it, the widest first."""
    sized = smaller(scenario)
    base = forecast(sized, book)
    swings = [*_of_prices(base), *_of_assumptions(sized, book)]
    return base, sorted(swings, key=lambda swing: -swing.widest(base.microdollars))


def _of_prices(base: Forecast) -> Iterator[Swing]:
    amounts = used(base.scenario, base.ran.month, base.book)
    for name in base.book.names():
        yield Swing(
            name=name if name == GPU else base.book.items[name].title,
            is_price=True,
            microdollars={
                factor: bill(amounts, base.book.multiplied(name, factor)).microdollars for factor in FACTORS
            },
        )


def _of_assumptions(scenario: Scenario, book: Book) -> Iterator[Swing]:
    """Yield a swing for each number of the scenario but those that are zero, which no factor changes."""
    known = msgspec.structs.replace(scenario, gap_cv=scenario.cv)
    for name, kind in _numbers():
        if value := getattr(known, name):
            yield Swing(
                name=name.replace("_", " "),
                is_price=False,
                microdollars={
                    factor: forecast(changed(known, **{name: _times(value, factor, kind)}), book).microdollars
                    for factor in FACTORS
                },
            )


def _numbers() -> Iterator[tuple[str, IntType | FloatType]]:
    """Yield the scenario's numbers, each with what it may be."""
    for field in type_info(Scenario).fields:  # type: ignore[attr-defined]  # it is a struct's
        for kind in getattr(field.type, "types", (field.type,)):
            if isinstance(kind, IntType | FloatType) and field.name not in _NOT_SWUNG:
                yield field.name, kind


def _times(value: float, factor: Fraction, kind: IntType | FloatType) -> float:
    """Multiply, as far as the scenario allows."""
    other = value * float(factor) if kind.le is None else min(value * float(factor), kind.le)
    return max(1, int(other)) if isinstance(kind, IntType) else other


def shocked(base: Forecast, shock: Shock) -> int | None:
    """Return the bill after a shock; None where nothing of it is on this bill."""
    month, book = base.ran.month, base.book
    if shock.bills_starts:
        if book.gpu.bills_start and book.gpu.bills_image_pull:
            return None
        billed = replace(book, gpu=msgspec.structs.replace(book.gpu, bills_start=True, bills_image_pull=True))
        return forecast(base.scenario, billed).microdollars
    if ALWAYS_ON in shock.prices and not base.scenario.workers_min:
        return None
    if MACHINE in shock.prices and book.kind is not Kind.MACHINE:
        return None
    for name in shock.prices:
        book = book.multiplied(GPU if name in (ALWAYS_ON, MACHINE) else name, shock.factor)
    return bill(used(base.scenario, month, base.book), book).microdollars


def exposure(base: Forecast) -> dict[str, int]:
    """Return how much of the bill each provider could change overnight."""
    parts: dict[str, int] = {}
    for line in base.bill.lines:
        parts[line.provider] = parts.get(line.provider, 0) + line.microdollars
    return parts


_LEAVING = {
    "google": (
        "Hop 1 is a Python ASGI application behind ports: `Ledger` and `CallerVerifier` have a second adapter each "
        "(SQLite; any OpenID-like verifier is one file). Its documents export as they are. Sign-in itself is "
        "Firebase's: users keep their accounts only if you export them (`firebase auth:export`)."
    ),
    "gpu": (
        "The worker is one image for every host. Push it to another, set PROVIDER, HARDWARE and the endpoint in "
        "functions/.env, `firebase deploy`: an hour, and no client notices. Jobs in flight are settled first by the "
        "sweeper."
    ),
}


def leaving(provider: str) -> str:
    """Return what leaving a provider takes."""
    return _LEAVING["google" if provider == "google" else "gpu"]
