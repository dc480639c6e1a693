"""What a job may cost at most, and what it did cost, in whole micro-dollars.

Rates are integers too, in nano-dollars, because a gibibyte-second costs 2.5 micro-dollars. Every amount is rounded
up to the next micro-dollar: the ledger may say a micro-dollar too much for a job, never too little.

The same functions serve the hold and the settlement, so the two cannot disagree.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from gate.errors import SettingsError

MICRODOLLARS_PER_DOLLAR = 1_000_000
_NANODOLLARS_PER_MICRODOLLAR = 1_000
_PRICES = Path(__file__).parent / "prices"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPrice:
    """What a provider bills for one kind of hardware."""

    hardware: str
    """`provider/sku`, as settings name it."""
    nanodollars_per_second: int
    granularity_ms: int
    """Billed time is rounded up to a multiple of this."""
    bills_start: bool
    """Loading the model is billed (pulling the image may still be free)."""
    bills_idle: bool
    """The time between the last job and the worker's end is billed."""
    as_of: date
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePrice:
    """What Google bills for hop 1's own part in a job."""

    nanodollars_per_invocation: int
    nanodollars_per_write: int
    nanodollars_per_vcpu_second: int
    nanodollars_per_gib_second: int
    as_of: date
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The time one job really took, in milliseconds, as the provider reports it."""

    execution_ms: int
    """From the worker taking the job to its answer."""
    start_ms: int = 0
    """Billed start of the worker that this job caused; 0 on a warm worker."""
    wait_ms: int = 0
    """How long hop 1 held the call open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """Turns time into money for one model on one kind of hardware.

    The rule: a job pays its own execution, the start it caused, one idle tail, and hop 1's operations. That is
    what a job costs that comes alone. A busy worker shares its tail among many jobs, and the ledger then says more
    than the bill; a worker that is started and gets no job is in no job's account, and shows only beside the bill.
    """

    gpu: GpuPrice
    gate: GatePrice
    start_ms_max: int
    """Longest billed start of a worker."""
    idle_ms: int
    """The worker's idle timeout: how long it is billed after its last job."""
    gate_vcpus: float = 1.0
    gate_gib: float = 0.5
    writes_per_job: int = 6
    """Three documents when held and the same three when settled: job, caller, budget shard."""

    def worst_case_microdollars(self, *, execution_ms_max: int, wait_ms_max: int) -> int:
        """Return the most that a job can cost whose execution the provider stops at `execution_ms_max`."""
        return self.microdollars(
            Spent(execution_ms=execution_ms_max, start_ms=self.start_ms_max, wait_ms=wait_ms_max)
        )

    def microdollars(self, spent: Spent) -> int:
        """Return what a job costs that took `spent`, rounded up to a micro-dollar."""
        nanodollars = self._gpu_nanodollars(spent) + self._gate_nanodollars(spent)
        return _ceil_div(nanodollars, _NANODOLLARS_PER_MICRODOLLAR)

    def _gpu_nanodollars(self, spent: Spent) -> int:
        start_ms = spent.start_ms if self.gpu.bills_start else 0
        idle_ms = self.idle_ms if self.gpu.bills_idle else 0
        granules = _ceil_div(spent.execution_ms + start_ms + idle_ms, self.gpu.granularity_ms)
        return _ceil_div(granules * self.gpu.granularity_ms * self.gpu.nanodollars_per_second, 1000)

    def _gate_nanodollars(self, spent: Spent) -> int:
        """Price the call as if it had hop 1's instance for itself; concurrency makes it cheaper, never dearer."""
        per_second = math.ceil(
            self.gate_vcpus * self.gate.nanodollars_per_vcpu_second
            + self.gate_gib * self.gate.nanodollars_per_gib_second
        )
        return (
            self.gate.nanodollars_per_invocation
            + self.writes_per_job * self.gate.nanodollars_per_write
            + _ceil_div(spent.wait_ms * per_second, 1000)
        )


def gpu_price(hardware: str, *, on: date) -> GpuPrice:
    """Return the price of `provider/sku` in effect on a day.

    Raises:
        SettingsError: no such price; the message names the file that should hold it.
    """
    provider, _, sku = hardware.partition("/")
    table = _table(provider, hardware)
    if "skus" not in table:
        raise _no_prices(hardware)
    if sku not in table["skus"]:
        raise SettingsError(
            f"there is no price for {hardware!r}; known: {', '.join(sorted(table['skus']))}. "
            f"Add it to gate/prices/{provider}.json with its date and source"
        )
    entry = _in_effect(table["skus"][sku]["history"], on, hardware)
    billing = table["billing"]
    return GpuPrice(
        hardware=hardware,
        nanodollars_per_second=entry["nanodollars_per_second"],
        granularity_ms=billing["granularity_ms"],
        bills_start=billing["bills_start"],
        bills_idle=billing["bills_idle"],
        as_of=date.fromisoformat(entry["as_of"]),
        source=entry["source"],
    )


def own_price(*, nanodollars_per_second: int, on: date) -> GpuPrice:
    """Return the price of hardware that the operator pays for as they say themselves.

    Start and tail are billed, as everywhere: START_SECONDS_MAX=0 and IDLE_SECONDS=0 say that there are none.
    """
    return GpuPrice(
        hardware="own",
        nanodollars_per_second=nanodollars_per_second,
        granularity_ms=1,
        bills_start=True,
        bills_idle=True,
        as_of=on,
        source="the operator's setting PRICE_NANODOLLARS_PER_SECOND",
    )


def gate_price(*, on: date) -> GatePrice:
    """Return Google's list prices for hop 1 in effect on a day (region class of us-central1)."""
    entry = _in_effect(_table("google", "google")["history"], on, "google")
    return GatePrice(
        nanodollars_per_invocation=entry["nanodollars_per_invocation"],
        nanodollars_per_write=entry["nanodollars_per_write"],
        nanodollars_per_vcpu_second=entry["nanodollars_per_vcpu_second"],
        nanodollars_per_gib_second=entry["nanodollars_per_gib_second"],
        as_of=date.fromisoformat(entry["as_of"]),
        source=entry["source"],
    )


@cache
def _table(provider: str, asked_for: str) -> Mapping[str, Any]:
    path = _PRICES / f"{provider}.json"
    if "/" in provider or not path.is_file():
        raise _no_prices(asked_for)
    table: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
    return table


def _no_prices(hardware: str) -> SettingsError:
    return SettingsError(
        f"there are no prices for {hardware!r}: name hardware as provider/sku, for example runpod/AMPERE_24"
    )


def _in_effect(history: list[dict[str, Any]], on: date, hardware: str) -> dict[str, Any]:
    """Return the newest entry whose effective date has come."""
    begun = [entry for entry in history if date.fromisoformat(entry["effective"]) <= on]
    if not begun:
        raise SettingsError(f"no price of {hardware!r} is in effect on {on}; its history begins later")
    return max(begun, key=lambda entry: str(entry["effective"]))


def _ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
