"""What things cost: dated price tables, one JSON file a provider, and the strict schema that they are read by.

A rate is a whole number of nano-dollars for its unit, from its effective date on, with the day on which somebody last
read it and where. A file with anything missing, unknown or malformed is not read at all: what cannot be priced is
not served.
"""

from gate.prices.schema import (
    Account,
    Billing,
    Confidence,
    Free,
    Gpu,
    GpuRate,
    Item,
    Kind,
    Multiplier,
    Period,
    PriceTable,
    Rate,
    Stated,
    Tier,
    TimeUnit,
    Unpriced,
)
from gate.prices.tables import PRICES, dump, in_effect, load, parse, providers

__all__ = [
    "PRICES",
    "Account",
    "Billing",
    "Confidence",
    "Free",
    "Gpu",
    "GpuRate",
    "Item",
    "Kind",
    "Multiplier",
    "Period",
    "PriceTable",
    "Rate",
    "Stated",
    "Tier",
    "TimeUnit",
    "Unpriced",
    "dump",
    "in_effect",
    "load",
    "parse",
    "providers",
]
