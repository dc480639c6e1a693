"""Price moves that really happened to somebody, each with its date and its source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from gate.prices import Confidence
from twohop.cost.book import GPU

ALWAYS_ON, MACHINE = "always-on", "machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who says so."""

    name: str
    on: date
    """The day of what it says, or on which it was read."""
    confidence: Confidence
    link: str = ""
    """Empty where no address was kept."""

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.name}, {self.on}, {self.confidence.value}" + (f": {self.link}" if self.link else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shock:
    """A price move that happened to somebody."""

    name: str
    on: date
    prices: tuple[str, ...]
    """What it would move here: `gpu`; `always-on` or `machine`, the GPU where it is one; or items."""
    factor: Fraction
    source: Source
    bills_starts: bool = False
    """A worker's start, which was free, is billed from now on."""


SHOCKS = (
    Shock(
        name="RunPod takes the active workers' discount away (4090: +48 %)",
        on=date(2026, 5, 13),
        prices=(ALWAYS_ON,),
        factor=Fraction(31, 21),
        source=Source(
            name="RunPod's own documentation, commits 6522c8e7 and d1accc4b",
            on=date(2026, 5, 13),
            confidence=Confidence.PRIMARY,
            link="https://github.com/runpod/docs/commit/d1accc4b",
        ),
    ),
    Shock(
        name="RunPod's H100 pods rise in twelve weeks (+21 %)",
        on=date(2026, 11, 9),
        prices=(GPU,),
        factor=Fraction(399, 329),
        source=Source(
            name="RunPod's list of pods, from 2026-08-19 on", on=date(2026, 11, 9), confidence=Confidence.SECONDARY
        ),
    ),
    Shock(
        name="Vast.ai's median A100 in one day (+50 %)",
        on=date(2026, 10, 29),
        prices=(GPU,),
        factor=Fraction(1498, 1000),
        source=Source(
            name="a copy of Vast.ai's market prices", on=date(2026, 10, 29), confidence=Confidence.SECONDARY
        ),
    ),
    Shock(
        name="Google doubles some egress",
        on=date(2026, 5, 1),
        prices=("egress", "firestore_egress"),
        factor=Fraction(2),
        source=Source(
            name="Google's prices of CDN interconnect, direct and carrier peering",
            on=date(2026, 5, 1),
            confidence=Confidence.SECONDARY,
        ),
    ),
    Shock(
        name="AWS Lambda bills the start of a function, which was free",
        on=date(2025, 8, 1),
        prices=(),
        factor=Fraction(1),
        source=Source(
            name="AWS's announcement that INIT is billed, as blogs told it",
            on=date(2025, 8, 1),
            confidence=Confidence.SECONDARY,
        ),
        bills_starts=True,
    ),
    Shock(
        name="Hetzner raises its prices (by how much is not known here: +10 % is shown)",
        on=date(2026, 4, 1),
        prices=(MACHINE,),
        factor=Fraction(11, 10),
        source=Source(
            name="Hetzner's general rise, as blogs told it", on=date(2026, 4, 1), confidence=Confidence.SECONDARY
        ),
    ),
    Shock(
        name="Hugging Face cuts prices by up to half",
        on=date(2024, 12, 1),
        prices=(GPU,),
        factor=Fraction(1, 2),
        source=Source(
            name="Hugging Face's Inference Endpoints price list",
            on=date(2024, 12, 1),
            confidence=Confidence.SECONDARY,
        ),
    ),
)
