"""The one schema of the price tables. There is no default for a rate, a date or a source."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from fractions import Fraction

NonEmpty = Annotated[str, Meta(min_length=1)]
Rated = Annotated[int, Meta(ge=1)]
Milliseconds = Annotated[int, Meta(ge=0)]


class Confidence(StrEnum):
    """How near to the provider's own word a number is. What is only remembered or guessed does not ship."""

    PRIMARY = "primary"
    """Read from the provider's own page, repository or interface."""
    SECONDARY = "secondary"
    """Read from somebody's dated copy of it."""


class Kind(StrEnum):
    """How a provider's hardware is bought."""

    SERVERLESS = "serverless"
    """Workers come and go with the traffic, and cost while they are there."""
    MACHINE = "machine"
    """Rented whole, by the hour, and billed until it is given back."""
    PLATFORM = "platform"
    """What hop 1 runs on: no GPUs."""


class Period(StrEnum):
    """How often a free amount is given anew."""

    DAY = "day"
    MONTH = "month"


class TimeUnit(StrEnum):
    """The time for which a price is stated."""

    SECOND = "second"
    HOUR = "hour"

    @property
    def per_hour(self) -> int:
        """How many of it make an hour."""
        return 3600 if self is TimeUnit.SECOND else 1


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A field that the schema does not know makes the file invalid: it may be a rate with a mistyped name."""


class Stated(_Strict, frozen=True, kw_only=True):
    """Something that somebody read somewhere on some day."""

    as_of: date
    """When it was last read there."""
    source: NonEmpty
    confidence: Confidence
    note: str = ""


class Tier(_Strict, frozen=True, kw_only=True):
    """Another rate from some amount on."""

    above: Rated
    """In the item's unit, counted with the free amount."""
    nanodollars: Rated


class Free(_Strict, frozen=True, kw_only=True):
    """What costs nothing, again and again."""

    amount: Rated
    period: Period


class Rate(Stated, frozen=True, kw_only=True):
    """What one unit of an item costs, from a day on."""

    effective: date
    nanodollars: Rated
    tiers: tuple[Tier, ...] = ()
    free: Free | None = None

    def nanodollars_for(self, quantity: Fraction | int) -> Fraction:
        """Return what a quantity costs, free amounts aside, exactly; each tier's rate holds for its own part."""
        from fractions import Fraction

        bounds = [(0, self.nanodollars), *((tier.above, tier.nanodollars) for tier in self.tiers)]
        amount = Fraction(quantity)
        ends = [*(Fraction(above) for above, _ in bounds[1:]), max(amount, Fraction(bounds[-1][0]))]
        return sum(
            (
                max(Fraction(0), min(amount, end) - above) * rate
                for (above, rate), end in zip(bounds, ends, strict=True)
            ),
            Fraction(0),
        )


class Item(_Strict, frozen=True, kw_only=True):
    """Something that is counted and costs: a request, a read, a gibibyte-second."""

    title: NonEmpty
    unit: NonEmpty
    granularity_ms: Annotated[int, Meta(ge=1)] = 1
    """For units of time: each use is rounded up to a multiple of this."""
    history: Annotated[tuple[Rate, ...], Meta(min_length=1)]


class GpuRate(Stated, frozen=True, kw_only=True):
    """What a worker on some hardware costs while it is billed, from a day on."""

    effective: date
    nanodollars: Rated
    """For one `unit`."""
    unit: TimeUnit
    always_on_nanodollars: Rated | None = None
    """The lower rate of workers that are never stopped, where there is one."""

    @property
    def nanodollars_per_hour(self) -> int:
        """The rate, exactly: every list price is a whole number of nano-dollars an hour."""
        return self.nanodollars * self.unit.per_hour

    @property
    def always_on_nanodollars_per_hour(self) -> int:
        """The rate of a worker that is never stopped."""
        return (self.always_on_nanodollars or self.nanodollars) * self.unit.per_hour


class Gpu(_Strict, frozen=True, kw_only=True):
    """One kind of hardware, as it is ordered."""

    title: NonEmpty
    gpus: tuple[NonEmpty, ...]
    """What may be in it."""
    memory_gib: Rated
    parts: dict[str, Rated] = {}
    """Items of the same table that a worker needs besides, with how many, each a second: processors, memory."""
    history: Annotated[tuple[GpuRate, ...], Meta(min_length=1)]


class Billing(Stated, frozen=True, kw_only=True):
    """What a provider bills of a worker's life: pull ─ start ─ jobs and pauses between them ─ idle tail."""

    granularity_ms: Annotated[int, Meta(ge=1)]
    """Billed time is rounded up to a multiple of this."""
    min_charge_ms: Milliseconds = 0
    """What a worker costs at least, once it is there."""
    bills_image_pull: bool
    bills_start: bool
    """Starting the container and loading the model."""
    bills_idle: bool
    scales_to_zero: bool
    idle_seconds_default: Milliseconds | None = None
    idle_seconds_least: Milliseconds | None = None
    idle_seconds_most: Milliseconds | None = None


class Multiplier(Stated, frozen=True, kw_only=True):
    """A choice that multiplies every rate of a provider. Hardware names it after a plus: `modal/H100+region`."""

    title: NonEmpty
    permille: Annotated[int, Meta(ge=1000)]


class Account(Stated, frozen=True, kw_only=True):
    """What the provider stops by itself, unless its support lifts it."""

    nanodollars_per_hour_max: Rated | None = None
    workers_max: Rated | None = None


class Unpriced(Stated, frozen=True, kw_only=True):
    """Something that a provider may bill, and for which it publishes no rate."""

    title: NonEmpty


class PriceTable(_Strict, frozen=True, kw_only=True):
    """All that is known of one provider's prices."""

    provider: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    title: NonEmpty
    kind: Kind
    currency: Literal["USD"]
    region: NonEmpty
    page: NonEmpty
    """Where a person looks the prices up."""
    billing: Billing | None = None
    skus: dict[NonEmpty, Gpu] = {}
    items: dict[NonEmpty, Item] = {}
    multipliers: dict[NonEmpty, Multiplier] = {}
    account: Account | None = None
    unpriced: tuple[Unpriced, ...] = ()

    def __post_init__(self) -> None:
        """Check what the types cannot say."""
        if self.skus and self.billing is None:
            raise ValueError("hardware is priced, and `billing` does not say what is billed of a worker's life")
        for name, sku in self.skus.items():
            if missing := [part for part in sku.parts if part not in self.items]:
                raise ValueError(f"{name} needs {', '.join(missing)}, which `items` does not have")
        for name, item in self.items.items():
            for rate in item.history:
                if [tier.above for tier in rate.tiers] != sorted({tier.above for tier in rate.tiers}):
                    raise ValueError(f"the tiers of {name} do not ascend")
        days = {name: [entry.effective for entry in sku.history] for name, sku in self.skus.items()}
        days |= {name: [entry.effective for entry in item.history] for name, item in self.items.items()}
        for name, effective in days.items():
            if effective != sorted(set(effective)):
                raise ValueError(f"the history of {name} is not in the order of its effective dates")
