"""What a job may cost at most, and what it did cost, in whole micro-dollars.

Rates are integers too, in nano-dollars, because a gibibyte-second costs 2.5 micro-dollars. Every amount is rounded
up to the next micro-dollar: the ledger may say a micro-dollar too much for a job, never too little.

The same functions serve the hold and the settlement, so the two cannot disagree.
"""

from __future__ import annotations

import math
from datetime import date

import msgspec

from gate import prices
from gate.errors import SettingsError
from gate.prices import PriceTable

MICRODOLLARS_PER_DOLLAR = 1_000_000
_NANODOLLARS_PER_MICRODOLLAR = 1_000
_MS_PER_HOUR = 3_600_000


class GpuPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider bills for one kind of hardware."""

    hardware: str
    """`provider/sku`, as settings name it."""
    nanodollars_per_hour: int
    """Of the whole worker, processors and memory included. By the hour, because every list price is exact in it."""
    granularity_ms: int
    """Billed time is rounded up to a multiple of this."""
    min_charge_ms: int = 0
    """What a worker is billed for at least."""
    bills_image_pull: bool = False
    """The time before the container starts is billed."""
    bills_start: bool
    """Loading the model is billed (pulling the image may still be free)."""
    bills_idle: bool
    """The time between the last job and the worker's end is billed."""
    as_of: date
    source: str

    def billed_ms(self, milliseconds: int) -> int:
        """Return the time that is billed for a use of a worker: nothing for none, else at least the minimum."""
        if milliseconds <= 0:
            return 0
        return _ceil_div(max(milliseconds, self.min_charge_ms), self.granularity_ms) * self.granularity_ms

    def nanodollars(self, milliseconds: int) -> int:
        """Return what a use of a worker costs, rounded as the provider rounds."""
        return _ceil_div(self.billed_ms(milliseconds) * self.nanodollars_per_hour, _MS_PER_HOUR)

    def microdollars(self, milliseconds: int) -> int:
        """Return the same in micro-dollars, rounded up."""
        return _ceil_div(self.nanodollars(milliseconds), _NANODOLLARS_PER_MICRODOLLAR)


class GatePrice(msgspec.Struct, frozen=True, kw_only=True):
    """What Google bills for hop 1's own part in a job."""

    nanodollars_per_invocation: int
    nanodollars_per_read: int
    nanodollars_per_write: int
    nanodollars_per_vcpu_second: int
    nanodollars_per_gib_second: int
    as_of: date
    source: str


class Operations(msgspec.Struct, frozen=True, kw_only=True):
    """What hop 1 does for one job, counted as if no other shared what it reads."""

    invocations: int = 1
    reads: int = 3
    """The configuration, the plan and the caller's own document, which are cached and usually are not read."""
    writes: int = 6
    """Three documents when held and the same three when settled: job, caller, budget shard."""

    def __add__(self, other: Operations) -> Operations:
        """Do both."""
        return Operations(
            invocations=self.invocations + other.invocations,
            reads=self.reads + other.reads,
            writes=self.writes + other.writes,
        )


OF_A_TOKEN = Operations(invocations=0, reads=0, writes=1)
"""When an API token was used is written into its document with the hold."""
OF_A_HANDOVER = Operations(invocations=1, reads=1, writes=1)
"""A job that outlives its call is noted, and its webhook reads it."""
MS_PER_LOOK = 2_000


def of_a_wait(wait_ms: int) -> Operations:
    """Return what a call does that waits: it looks into its job's document, at most every `MS_PER_LOOK`."""
    return Operations(invocations=0, reads=wait_ms // MS_PER_LOOK, writes=0)


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """The time that one job pays for, in milliseconds, useful or not."""

    execution_ms: int
    """Useful: the job's share of the time that its worker had jobs; its whole execution where no share is told."""
    start_ms: int = 0
    """Billed start of the worker that this job caused; 0 on a warm worker."""
    idle_ms: int | None = None
    """The worker's idle time that this job pays: the gap before it, and with a start the tail in advance. None where
    the worker does not tell: then one tail."""
    before_ms: int = 0
    """What earlier jobs of the same worker paid, so that rounding its life up is paid once."""
    wait_ms: int = 0
    """How long hop 1 held the call open."""
    operations: Operations = Operations()
    """What hop 1 did for it."""
    tokens: int = 0
    """That went through the model. They cost nothing by themselves; callers are told them."""


class Tariff(msgspec.Struct, frozen=True, kw_only=True):
    """Turns time into money for one model on one kind of hardware.

    The rule (ADR 0006): the jobs of a worker together pay its billed life, from its start to the end of its idle
    tail, each its own part. Where the worker does not tell the parts, a job pays its execution, the start it may have
    caused and one tail, which is what it costs when it comes alone. To both comes hop 1's own part.
    """

    gpu: GpuPrice
    gate: GatePrice
    start_ms_max: int
    """Longest billed start of a worker."""
    idle_ms: int
    """The worker's idle timeout: how long it is billed after its last job."""
    pull_ms: int = 0
    """Fetching the image, before the worker's own first moment; it counts where the provider bills it."""
    gate_vcpus: float = 1.0
    gate_gib: float = 0.5

    @property
    def billed_pull_ms(self) -> int:
        """What a start costs before its worker can measure anything."""
        return self.pull_ms if self.gpu.bills_image_pull else 0

    def worst_case_microdollars(self, *, execution_ms_max: int, wait_ms_max: int) -> int:
        """Return the most that a job can cost whose execution the provider stops at `execution_ms_max`."""
        return self.microdollars(
            Spent(
                execution_ms=execution_ms_max,
                start_ms=self.start_ms_max + self.billed_pull_ms,
                wait_ms=wait_ms_max,
                operations=Operations() + OF_A_TOKEN + OF_A_HANDOVER + of_a_wait(wait_ms_max),
            )
        )

    def microdollars(self, spent: Spent) -> int:
        """Return what a job costs that took `spent`; its worker's part and hop 1's are each rounded up."""
        return self.gpu_microdollars(spent) + _ceil_div(self._gate_nanodollars(spent), _NANODOLLARS_PER_MICRODOLLAR)

    def gpu_microdollars(self, spent: Spent) -> int:
        """Return the worker's part of it: what this job adds to the bill of its worker's life until now."""
        start_ms = spent.start_ms if self.gpu.bills_start else 0
        told_idle_ms = self.idle_ms if spent.idle_ms is None else spent.idle_ms
        idle_ms = told_idle_ms if self.gpu.bills_idle else 0
        own_ms = spent.execution_ms + start_ms + idle_ms
        return self.gpu.microdollars(spent.before_ms + own_ms) - self.gpu.microdollars(spent.before_ms)

    def _gate_nanodollars(self, spent: Spent) -> int:
        """Price the call as if it had hop 1's instance for itself; concurrency makes it cheaper, never dearer."""
        per_second = math.ceil(
            self.gate_vcpus * self.gate.nanodollars_per_vcpu_second
            + self.gate_gib * self.gate.nanodollars_per_gib_second
        )
        does, price = spent.operations, self.gate
        return (
            does.invocations * price.nanodollars_per_invocation
            + does.reads * price.nanodollars_per_read
            + does.writes * price.nanodollars_per_write
            + _ceil_div(spent.wait_ms * per_second, 1000)
        )


def gpu_price(hardware: str, *, on: date) -> GpuPrice:
    """Return the price of `provider/sku` in effect on a day; `provider/sku+choice` with a choice that multiplies it.

    Raises:
        SettingsError: no such price; the message names the file that should hold it.
    """
    name, *choices = hardware.split("+")
    provider, _, sku = name.partition("/")
    table = _table_of_hardware(provider, sku, hardware)
    assert table.billing is not None  # a table with hardware has it
    entry = prices.in_effect(table.skus[sku].history, on, hardware)
    per_hour = entry.nanodollars_per_hour + _parts_per_hour(table, sku, on)
    for choice in choices:
        per_hour = _ceil_div(per_hour * _permille(table, choice, hardware), 1000)
    return GpuPrice(
        hardware=hardware,
        nanodollars_per_hour=per_hour,
        granularity_ms=table.billing.granularity_ms,
        min_charge_ms=table.billing.min_charge_ms,
        bills_image_pull=table.billing.bills_image_pull,
        bills_start=table.billing.bills_start,
        bills_idle=table.billing.bills_idle,
        as_of=entry.as_of,
        source=entry.source,
    )


def own_price(*, nanodollars_per_second: int, on: date) -> GpuPrice:
    """Return the price of hardware that the operator pays for as they say themselves.

    Start and tail are billed, as everywhere: START_SECONDS_MAX=0 and IDLE_SECONDS=0 say that there are none.
    """
    return GpuPrice(
        hardware="own",
        nanodollars_per_hour=nanodollars_per_second * 3600,
        granularity_ms=1,
        bills_start=True,
        bills_idle=True,
        as_of=on,
        source="the operator's setting PRICE_NANODOLLARS_PER_SECOND",
    )


def gate_price(*, on: date) -> GatePrice:
    """Return Google's list prices for hop 1 in effect on a day (region class of us-central1)."""
    items = prices.load("google").items
    request, read, write, vcpu, memory = (
        prices.in_effect(items[name].history, on, f"google/{name}")
        for name in ("requests", "firestore_reads", "firestore_writes", "vcpu_seconds", "gib_seconds")
    )
    return GatePrice(
        nanodollars_per_invocation=request.nanodollars,
        nanodollars_per_read=read.nanodollars,
        nanodollars_per_write=write.nanodollars,
        nanodollars_per_vcpu_second=vcpu.nanodollars,
        nanodollars_per_gib_second=memory.nanodollars,
        as_of=min(rate.as_of for rate in (request, read, write, vcpu, memory)),
        source=f"{request.source}; {write.source}",
    )


def _table_of_hardware(provider: str, sku: str, hardware: str) -> PriceTable:
    """Return the table that prices some hardware."""
    if provider not in prices.providers() or not prices.load(provider).skus:
        raise SettingsError(
            f"there are no prices for {hardware!r}: name hardware as provider/sku, for example runpod/AMPERE_24. A "
            f"provider that is not among {', '.join(prices.providers())} needs a file of its own in "
            "functions/gate/prices/"
        )
    table = prices.load(provider)
    if sku not in table.skus:
        raise SettingsError(
            f"there is no price for {hardware!r}; known: {', '.join(sorted(table.skus))}. "
            f"Add it to functions/gate/prices/{provider}.json with its date and source"
        )
    return table


def _parts_per_hour(table: PriceTable, sku: str, on: date) -> int:
    """Return what the processors and the memory cost that a provider bills beside its GPU."""
    return sum(
        count * prices.in_effect(table.items[part].history, on, f"{table.provider}/{part}").nanodollars * 3600
        for part, count in table.skus[sku].parts.items()
    )


def _permille(table: PriceTable, choice: str, hardware: str) -> int:
    if choice not in table.multipliers:
        known = ", ".join(sorted(table.multipliers)) or "none"
        raise SettingsError(
            f"{hardware!r} asks for {choice!r}; functions/gate/prices/{table.provider}.json knows: {known}"
        )
    return table.multipliers[choice].permille


def _ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
