"""`twohop prices`: what the tables say, how old it is, and what the providers say today."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import click
import msgspec

from gate import prices as tables
from gate.errors import SettingsError
from gate.money import gpu_price
from gate.prices import GpuRate, PriceTable, Rate, Stated
from twohop.errors import BadInputError
from twohop.given import json_option
from twohop.session import Session
from twohop.show import Column, hint, show, show_json, table, warn

_DAYS_MAX = 90
_REFRESHABLE = ("runpod",)
_NANODOLLARS_PER_DOLLAR = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """One price that is in effect."""

    name: str
    title: str
    unit: str
    nanodollars: int
    entry: Stated

    def age_days(self, today: date) -> int:
        return (today - self.entry.as_of).days

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "nanodollars": self.nanodollars,
            "as_of": self.entry.as_of,
            "source": self.entry.source,
            "confidence": self.entry.confidence,
        }


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def prices(ctx: click.Context, *, as_json: bool) -> None:
    """Show what everything costs, with the date on which somebody last looked."""
    if ctx.invoked_subcommand is None:
        _list(ctx.obj.now().date(), as_json=as_json)


@prices.command("list")
@json_option
@click.pass_obj
def list_(session: Session, *, as_json: bool) -> None:
    """Show every price that is in effect."""
    _list(session.now().date(), as_json=as_json)


@prices.command("show")
@click.argument("name")
@json_option
@click.pass_obj
def show_(session: Session, name: str, *, as_json: bool) -> None:
    """Show one price with its history, or all that is known of a provider: runpod, runpod/ADA_24, google/requests."""
    provider, _, part = name.partition("/")
    known = _load(provider)
    if not part:
        _show_provider(known, as_json=as_json)
        return
    found = known.skus.get(part) or known.items.get(part)
    if found is None:
        raise BadInputError(f"{provider} has no {part!r}; known: {', '.join([*known.skus, *known.items])}")
    if as_json:
        show_json(msgspec.to_builtins(found))
        return
    made = table(Column(name="from"), Column(name="price", number=True), Column(name="read"), Column(name="notes"))
    for entry in found.history:
        made.add_row(f"{entry.effective}", _price_of(entry), f"{entry.as_of}", entry.confidence.value)
    show(f"{name}: {found.title}", "", made)
    show("", *(f"{entry.effective}: {entry.source}{'; ' * bool(entry.note)}{entry.note}" for entry in found.history))
    if part in known.skus:
        per_hour = gpu_price(name, on=session.now().date()).nanodollars_per_hour
        show("", f"a worker costs ${per_hour / _NANODOLLARS_PER_DOLLAR:,.4f} an hour, all its parts included")


@prices.command()
@click.option("--max-age", "days_max", type=click.IntRange(0), default=_DAYS_MAX, show_default=True, help="In days.")
@click.option("--fail", is_flag=True, help="Exit with 1 if there are old ones, for CI.")
@json_option
@click.pass_obj
def check(session: Session, days_max: int, *, fail: bool, as_json: bool) -> None:
    """Warn of prices that nobody has looked at for long."""
    today = session.now().date()
    old = [known for known in _all(today) if known.age_days(today) > days_max]
    if as_json:
        show_json([{**known.as_json(), "age_days": known.age_days(today)} for known in old])
    elif not old:
        hint(f"no price is older than {days_max} days")
    else:
        made = table(Column(name="price", may_shrink=True), Column(name="read on"), Column(name="days", number=True))
        for known in sorted(old, key=lambda known: known.entry.as_of):
            made.add_row(known.name, f"{known.entry.as_of}", f"{known.age_days(today)}")
        show(made)
        pages = sorted({tables.load(known.name.partition("/")[0]).page for known in old})
        warn(f"{len(old)} prices were last read more than {days_max} days ago; look again: {' '.join(pages)}")
    if old and fail:
        click.get_current_context().exit(1)


@prices.command()
@click.argument("provider", type=click.Choice(_REFRESHABLE), default=_REFRESHABLE[0])
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.option("--address", default=None, help="Another address than the provider's own, for a test.", hidden=True)
@click.pass_obj
def refresh(session: Session, provider: str, address: str | None, *, yes: bool) -> None:
    """Read a provider's prices from its public interface, show the difference, and write it if you say so.

    A new price is a new entry of the history, in effect from today; nothing old is overwritten. RUNPOD_API_KEY is
    sent if it is set.
    """
    from twohop import catalogue

    known, today = _load(provider), session.now().date()
    api_key = os.environ.get("RUNPOD_API_KEY")
    gpus = catalogue.read_gpus(address=address or catalogue.ADDRESS, api_key=api_key)
    found = catalogue.changes(known, gpus, on=today)
    _show_changes(found)
    if all(change.new_nanodollars_per_hour is None for change in found):
        raise BadInputError("the provider lists no prices at all; nothing is written")
    if not yes and not click.confirm(f"Write gate/prices/{provider}.json?", err=True):
        hint("nothing is written")
        return
    path = tables.PRICES / f"{provider}.json"
    path.write_text(tables.dump(catalogue.refreshed(known, gpus, found, on=today)), "utf-8")
    hint(f"wrote {path}; deploy again for hop 1 to use it")


def _show_changes(found: list[Any]) -> None:
    made = table(
        Column(name="hardware"),
        Column(name="old $/h", number=True),
        Column(name="new $/h", number=True),
        Column(name=""),
    )
    for change in found:
        old, new = change.old_nanodollars_per_hour, change.new_nanodollars_per_hour
        made.add_row(
            change.sku, _per_hour(old), _per_hour(new), _verdict(old, new), style="dim" if change.same else None
        )
    show(made)


def _per_hour(nanodollars: int | None) -> str:
    return "-" if nanodollars is None else f"{nanodollars / _NANODOLLARS_PER_DOLLAR:,.4f}"


def _verdict(old: int | None, new: int | None) -> str:
    if old is None:
        return "new"
    if new is None:
        return "not listed any more; stays, and ages"
    return "same" if old == new else f"{(new - old) / old:+.1%}"


def _list(today: date, *, as_json: bool) -> None:
    known = list(_all(today))
    if as_json:
        show_json([one.as_json() for one in known])
        return
    made = table(
        Column(name="price", may_shrink=True),
        Column(name="$", number=True),
        Column(name="per", may_shrink=True),
        Column(name="read on"),
        Column(name="how"),
    )
    for one in known:
        amount = f"{one.nanodollars / _NANODOLLARS_PER_DOLLAR:.9f}".rstrip("0").rstrip(".")
        made.add_row(one.name, amount, one.unit, f"{one.entry.as_of}", one.entry.confidence.value)
    show(made)


def _all(today: date) -> Iterator[_Known]:
    """Yield every price in effect. Hardware is shown by the hour with all that a worker needs."""
    for provider in tables.providers():
        known = tables.load(provider)
        for name, sku in known.skus.items():
            entry = tables.in_effect(sku.history, today, name)
            full = f"{provider}/{name}"
            per_hour = gpu_price(full, on=today).nanodollars_per_hour
            yield _Known(name=full, title=sku.title, unit="hour", nanodollars=per_hour, entry=entry)
        for name, item in known.items.items():
            rate = tables.in_effect(item.history, today, name)
            yield _Known(
                name=f"{provider}/{name}",
                title=item.title,
                unit=item.unit,
                nanodollars=rate.nanodollars,
                entry=rate,
            )


def _price_of(entry: Rate | GpuRate) -> str:
    unit = f" a {entry.unit.value}" if isinstance(entry, GpuRate) else ""
    return f"${entry.nanodollars / _NANODOLLARS_PER_DOLLAR:.9f}".rstrip("0").rstrip(".") + unit


def _show_provider(known: PriceTable, *, as_json: bool) -> None:
    if as_json:
        show_json(msgspec.to_builtins(known))
        return
    show(f"{known.title} ({known.kind.value}), {known.region}, {known.page}")
    if billing := known.billing:
        billed = {
            "the image's download": billing.bills_image_pull,
            "the start": billing.bills_start,
            "idle time": billing.bills_idle,
        }
        show(f"billed: {', '.join(name for name, is_billed in billed.items() if is_billed)}, and jobs")
        show(f"rounded up to {billing.granularity_ms:,} ms; read {billing.as_of}: {billing.source}")
    show(f"hardware: {', '.join(known.skus) or 'none'}", f"items: {', '.join(known.items) or 'none'}")
    for one in known.unpriced:
        warn(f"{one.title}: {one.note} ({one.source}, {one.as_of})")


def _load(provider: str) -> PriceTable:
    try:
        return tables.load(provider)
    except SettingsError as exc:
        raise BadInputError(str(exc)) from exc
