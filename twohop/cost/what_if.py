"""What if a price or an assumption is half, twice or ten times what it is; and the moves that really happened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction

from gate.prices import Kind
from twohop.cost.bill import bill
from twohop.cost.book import GPU, Book
from twohop.cost.compare import smaller
from twohop.cost.forecast import Forecast, changed, forecast
from twohop.cost.scenario import Scenario
from twohop.cost.use import used

FACTORS = (Fraction(1, 2), Fraction(2), Fraction(10))

_ASSUMPTIONS = ("calls_per_month", "compute_seconds", "cold_start_seconds", "idle_seconds", "workers_max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Swing:
    """What the bill becomes when one thing is multiplied, in micro-dollars by factor."""

    name: str
    is_price: bool
    microdollars: dict[Fraction, int]

    def widest(self, base: int) -> int:
        """How far the bill goes from its base at most."""
        return max(abs(value - base) for value in self.microdollars.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Shock:
    """A price move that happened to somebody."""

    name: str
    on: date
    prices: tuple[str, ...]
    """What it would move here: `gpu`; `always-on` or `machine`, the GPU where it is one; or items."""
    factor: Fraction
    source: str
    bills_starts: bool = False
    """A worker's start, which was free, is billed from now on."""


SHOCKS = (
    Shock(
        name="RunPod takes the active workers' discount away (4090: +48 %)",
        on=date(2026, 5, 13),
        prices=("always-on",),
        factor=Fraction(31, 21),
        source="github.com/runpod/docs, commits 6522c8e7 and d1accc4b",
    ),
    Shock(
        name="RunPod's H100 pods rise in twelve weeks (+21 %)",
        on=date(2026, 11, 9),
        prices=(GPU,),
        factor=Fraction(399, 329),
        source="runpod.io/pricing, read 2026-08-19 and 2026-11-09",
    ),
    Shock(
        name="Vast.ai's median A100 in one day (+50 %)",
        on=date(2026, 10, 29),
        prices=(GPU,),
        factor=Fraction(1498, 1000),
        source="a dated copy of Vast.ai's market prices",
    ),
    Shock(
        name="Google doubles some egress",
        on=date(2026, 5, 1),
        prices=("egress", "firestore_egress"),
        factor=Fraction(2),
        source="Google's price change of CDN interconnect, direct and carrier peering",
    ),
    Shock(
        name="AWS Lambda bills the start of a function, which was free",
        on=date(2025, 8, 1),
        prices=(),
        factor=Fraction(1),
        source="AWS's announcement of billing INIT, in effect from 2025-08-01; blogs of 2025",
        bills_starts=True,
    ),
    Shock(
        name="Hetzner raises its prices (by how much is not known here: +10 % is shown)",
        on=date(2026, 4, 1),
        prices=("machine",),
        factor=Fraction(11, 10),
        source="Hetzner's general rise of 2026-04-01, as blogs told it",
    ),
    Shock(
        name="Hugging Face cuts prices by up to half",
        on=date(2024, 12, 1),
        prices=(GPU,),
        factor=Fraction(1, 2),
        source="Hugging Face's Inference Endpoints price list of 2024-12",
    ),
)


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
    for name in _ASSUMPTIONS:
        value = getattr(scenario, name)
        if not value:
            continue
        swung = {}
        for factor in FACTORS:
            other = type(value)(value * factor) if isinstance(value, int) else float(value * factor)
            swung[factor] = forecast(
                changed(scenario, **{name: max(other, 1) if isinstance(value, int) else other}), book
            )
        yield Swing(
            name=name.replace("_", " "),
            is_price=False,
            microdollars={factor: found.microdollars for factor, found in swung.items()},
        )


def shocked(base: Forecast, shock: Shock) -> int | None:
    """Return the bill after a shock; None where nothing of it is on this bill."""
    month, book = base.ran.month, base.book
    if shock.bills_starts:
        if book.gpu.bills_start and book.gpu.bills_image_pull:
            return None
        billed = replace(book, gpu=replace(book.gpu, bills_start=True, bills_image_pull=True))
        return forecast(base.scenario, billed).microdollars
    if "always-on" in shock.prices and not base.scenario.workers_min:
        return None
    if "machine" in shock.prices and book.kind is not Kind.MACHINE:
        return None
    for name in shock.prices:
        book = book.multiplied(GPU if name in ("always-on", "machine") else name, shock.factor)
    return bill(used(base.scenario, month, base.book), book).microdollars


def exposure(base: Forecast) -> dict[str, int]:
    """Return how much of the bill each provider could change overnight."""
    parts: dict[str, int] = {}
    for line in base.bill.lines:
        parts[line.provider] = parts.get(line.provider, 0) + line.microdollars
    return parts


LEAVING = {
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
"""What leaving takes, by who is left."""
