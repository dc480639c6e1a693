"""What goes wrong in one drive."""

from __future__ import annotations

from dataclasses import dataclass, field

from twohop.cloud.faults import CloudFaults
from twohop.prove.faults import LedgerFaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What goes wrong."""

    name: str
    ledger: LedgerFaults = field(default_factory=LedgerFaults)
    cloud: CloudFaults = field(default_factory=CloudFaults)
    price_percent: int = 100
    """What the provider bills for the first two minutes, of the price that hop 1 counts with, which it bills then."""

    def __add__(self, other: Case) -> Case:
        """Have both go wrong."""
        return Case(
            name=f"{self.name} + {other.name}",
            ledger=self.ledger + other.ledger,
            cloud=self.cloud + other.cloud,
            price_percent=min(self.price_percent, other.price_percent),
        )


NOTHING = Case(name="nothing goes wrong")
