"""RunPod's public catalogue of GPUs, read as new entries of the price table.

The interface is documented: https://api.runpod.io/v2/catalog/gpus gives, for each GPU type, its serverless pool and
`price.serverless`, the list price of the pool in dollars an hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import click
import httpx
import msgspec

from gate import prices
from gate.prices import Confidence, Gpu, GpuRate, PriceTable, TimeUnit
from twohop.errors import BadInputError

ADDRESS = "https://api.runpod.io"
_PATH = "/v2/catalog/gpus"
_SOURCE = f"RunPod's interface, {ADDRESS}{_PATH}"
_TIMEOUT_SECONDS = 20
_NANODOLLARS_PER_DOLLAR = 10**9


class Price(msgspec.Struct, frozen=True):
    """Dollars an hour; `serverless` is absent where the GPU is in no pool."""

    serverless: Decimal | None = None


class GpuType(msgspec.Struct, frozen=True):
    """One GPU of the catalogue, as far as it matters here."""

    id: str
    name: str
    memory: int
    pool: str | None
    price: Price


class _Answer(msgspec.Struct, frozen=True):
    gpus: list[GpuType]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a refresh would do to one kind of hardware."""

    sku: str
    old_nanodollars_per_hour: int | None
    """None for hardware that the table does not have yet."""
    new_nanodollars_per_hour: int | None
    """None for hardware that the provider does not list any more. Its price stays, and only ages."""

    @property
    def same(self) -> bool:
        """True if the price is what it was: only its date moves."""
        return self.old_nanodollars_per_hour == self.new_nanodollars_per_hour


def read_gpus(*, address: str, api_key: str | None, transport: httpx.BaseTransport | None = None) -> list[GpuType]:
    """Return the provider's GPUs.

    Raises:
        BadInputError: it wants a key, or does not take this one.
        click.ClickException: it cannot be reached, or refuses.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    with httpx.Client(base_url=address, timeout=_TIMEOUT_SECONDS, transport=transport) as client:
        try:
            response = client.get(_PATH, headers=headers)
        except httpx.HTTPError as exc:
            raise click.ClickException(f"{address} cannot be reached: {exc}") from exc
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise BadInputError("RunPod's catalogue wants an API key that may read it; set RUNPOD_API_KEY")
    if response.is_error:
        raise click.ClickException(f"{address}{_PATH} answered {response.status_code}; try again later")
    try:
        return msgspec.json.decode(response.content, type=_Answer, strict=False).gpus
    except msgspec.DecodeError as exc:
        raise BadInputError(f"{address}{_PATH} answered something else than its documentation says: {exc}") from exc


def changes(table: PriceTable, gpus: Iterable[GpuType], *, on: date) -> list[Change]:
    """Return one change for each kind of hardware that either side knows, in the table's order."""
    listed = _rates(gpus)
    names = [*table.skus, *sorted(set(listed) - set(table.skus))]
    return [
        Change(
            sku=name,
            old_nanodollars_per_hour=_current(table, name, on),
            new_nanodollars_per_hour=listed.get(name),
        )
        for name in names
    ]


def refreshed(table: PriceTable, gpus: Sequence[GpuType], found: Iterable[Change], *, on: date) -> PriceTable:
    """Return the table as it is after the changes: a new entry for a new price, a new date for one that stayed."""
    skus = dict(table.skus)
    for change in found:
        if change.new_nanodollars_per_hour is None:
            continue
        known = skus.get(change.sku) or _new_sku(change.sku, gpus)
        skus[change.sku] = _with_rate(known, change.new_nanodollars_per_hour, same=change.same, on=on)
    return msgspec.structs.replace(table, skus=skus)


def _rates(gpus: Iterable[GpuType]) -> dict[str, int]:
    """Return each pool's rate. Where the GPUs of a pool differ, the highest: a hold has to be a ceiling."""
    rates: dict[str, int] = {}
    for gpu in gpus:
        if gpu.pool and gpu.price.serverless:
            rate = int(gpu.price.serverless * _NANODOLLARS_PER_DOLLAR)
            rates[gpu.pool] = max(rate, rates.get(gpu.pool, 0))
    return rates


def _current(table: PriceTable, name: str, on: date) -> int | None:
    if name not in table.skus:
        return None
    return prices.in_effect(table.skus[name].history, on, f"{table.provider}/{name}").nanodollars_per_hour


def _new_sku(name: str, gpus: Sequence[GpuType]) -> Gpu:
    inside = [gpu for gpu in gpus if gpu.pool == name]
    names = tuple(gpu.name for gpu in inside)
    return Gpu(title=", ".join(names), gpus=names, memory_gib=min(gpu.memory for gpu in inside), history=())


def _with_rate(sku: Gpu, nanodollars_per_hour: int, *, same: bool, on: date) -> Gpu:
    stated: dict[str, Any] = {"as_of": on, "source": _SOURCE, "confidence": Confidence.PRIMARY}
    if same:
        *older, newest = sku.history
        return msgspec.structs.replace(sku, history=(*older, msgspec.structs.replace(newest, **stated)))
    older = [rate for rate in sku.history if rate.effective < on]
    new = GpuRate(effective=on, nanodollars=nanodollars_per_hour, unit=TimeUnit.HOUR, **stated)
    return msgspec.structs.replace(sku, history=(*older, new))
