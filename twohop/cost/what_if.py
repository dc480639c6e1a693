"""What if a price or an assumption is half, twice or ten times what it is; and the moves that really happened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

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
    """What it would move here: `gpu`, `always-on`, or items."""
    factor: Fraction
    source: str


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
    moved = tuple(GPU if name == "always-on" else name for name in shock.prices)
    if "always-on" in shock.prices and not base.scenario.workers_min:
        return None
    book = base.book
    for name in moved:
        book = book.multiplied(name, shock.factor)
    amounts = used(base.scenario, base.ran.month, base.book)
    return bill(amounts, book).microdollars


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
