"""The price tables: nothing undated, nothing unsourced, nothing malformed, and every day has its price."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate import prices
from gate.errors import SettingsError
from gate.money import gpu_price
from gate.prices import Free, GpuRate, Period, Rate, Stated, Tier

TODAY = date(2026, 11, 25)
STATED = {"as_of": "2026-11-01", "source": "example.com/pricing", "confidence": "primary"}


@pytest.mark.parametrize("provider", prices.providers())
def test_every_table_is_whole_and_in_the_one_form(provider: str) -> None:
    """A price that nobody can check is no price; and a refreshed file shows the change and nothing else."""
    text = (prices.PRICES / f"{provider}.json").read_text("utf-8")

    assert prices.dump(prices.load(provider)) == text


@pytest.mark.parametrize("provider", prices.providers())
def test_nothing_was_read_in_the_future(provider: str) -> None:
    """A mistyped year would keep a price young for ever."""
    table = prices.load(provider)
    stated: list[Stated] = [
        *(rate for sku in table.skus.values() for rate in sku.history),
        *(rate for item in table.items.values() for rate in item.history),
        *table.multipliers.values(),
        *table.unpriced,
        *([table.billing] if table.billing else []),
        *([table.account] if table.account else []),
    ]

    assert stated
    assert all(date(2024, 1, 1) <= one.as_of <= TODAY and one.source.strip() for one in stated)


@pytest.mark.parametrize(
    "hardware", [f"{provider}/{sku}" for provider in prices.providers() for sku in prices.load(provider).skus]
)
def test_every_hardware_of_the_tables_can_be_priced(hardware: str) -> None:
    """Each table has what pricing needs."""
    price = gpu_price(hardware, on=TODAY)

    assert price.nanodollars(1) > 0
    assert price.as_of <= TODAY


def _table(**changes: Any) -> dict[str, Any]:
    table = {
        "provider": "host",
        "title": "A host",
        "kind": "serverless",
        "currency": "USD",
        "region": "all",
        "page": "https://example.com/pricing",
        "billing": {
            **STATED,
            "granularity_ms": 1000,
            "bills_image_pull": False,
            "bills_start": True,
            "bills_idle": True,
            "scales_to_zero": True,
        },
        "skus": {
            "GPU": {
                "title": "A GPU",
                "gpus": ["A GPU"],
                "memory_gib": 24,
                "history": [{**STATED, "effective": "2026-01-01", "nanodollars": 1, "unit": "second"}],
            }
        },
    }
    return {**table, **changes}


def _read(table: dict[str, Any]) -> prices.PriceTable:
    return prices.parse(json.dumps(table).encode(), name="host.json")


def _entry(table: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = table["skus"]["GPU"]["history"][0]
    return entry


@pytest.mark.parametrize("name", ["effective", "as_of", "source", "confidence", "nanodollars", "unit"])
def test_a_rate_without_its_date_its_source_or_its_unit_is_no_rate(name: str) -> None:
    """There is no default for any of them."""
    table = _table()
    del _entry(table)[name]

    with pytest.raises(SettingsError, match=rf"host\.json is malformed: .*`{name}`"):
        _read(table)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(lambda table: _entry(table).update(source=""), "length", id="an-empty-source"),
        pytest.param(lambda table: _entry(table).update(as_of="last week"), "date", id="no-date"),
        pytest.param(lambda table: _entry(table).update(confidence="sure"), "confidence", id="no-such-confidence"),
        pytest.param(lambda table: _entry(table).update(nanodollars=0), ">= 1", id="for-nothing"),
        pytest.param(lambda table: _entry(table).update(nanodollars=0.5), "int", id="a-broken-rate"),
        pytest.param(lambda table: _entry(table).update(nanodolars_per_month=1), "unknown field", id="mistyped"),
        pytest.param(lambda table: table.update(currency="EUR"), "EUR", id="another-currency"),
        pytest.param(lambda table: table.pop("billing"), "billing", id="hardware-without-billing"),
        pytest.param(lambda table: table["skus"]["GPU"].update(history=[]), "length", id="no-history"),
        pytest.param(
            lambda table: table["skus"]["GPU"].update(parts={"cpu": 4}), "GPU needs cpu", id="a-part-unpriced"
        ),
        pytest.param(
            lambda table: table["skus"]["GPU"]["history"].append({**_entry(table), "effective": "2025-01-01"}),
            "order",
            id="history-out-of-order",
        ),
        pytest.param(lambda table: table.update(provider="guest"), "name both alike", id="another-provider's-name"),
    ],
)
def test_a_malformed_table_is_refused_with_the_reason(spoil: Callable[[dict[str, Any]], Any], reason: str) -> None:
    """The gate must not spend money by a table that it half understands."""
    table = _table()
    spoil(table)

    with pytest.raises(SettingsError, match=reason):
        _read(table)


HISTORY = tuple(
    GpuRate(
        effective=date.fromisoformat(effective),
        nanodollars=nanodollars,
        unit=prices.TimeUnit.SECOND,
        as_of=TODAY,
        source="test",
        confidence=prices.Confidence.PRIMARY,
    )
    for effective, nanodollars in [("2026-01-01", 1), ("2026-06-01", 2), ("2026-12-01", 3)]
)


@pytest.mark.parametrize(
    ("on", "rate"),
    [
        pytest.param(date(2026, 1, 1), 1, id="first-day"),
        pytest.param(date(2026, 5, 31), 1, id="last-day-of-the-old"),
        pytest.param(date(2026, 6, 1), 2, id="first-day-of-the-new"),
        pytest.param(date(2026, 11, 30), 2, id="an-announced-price-waits"),
        pytest.param(date(2027, 1, 1), 3, id="newest"),
    ],
)
def test_the_price_of_a_day_is_the_newest_that_has_begun(on: date, rate: int) -> None:
    """So a bill of last month stays what it was."""
    assert prices.in_effect(HISTORY, on, "host/GPU").nanodollars == rate


def test_a_day_before_the_history_begins_has_no_price() -> None:
    """A price that is only announced is not in effect, and nothing is guessed."""
    with pytest.raises(SettingsError, match="history begins later"):
        prices.in_effect(HISTORY, date(2025, 12, 31), "host/GPU")


def test_a_price_that_rose_is_known_by_its_days() -> None:
    """RunPod took the lower rate of active workers away in May 2026."""
    before, after = (
        prices.in_effect(prices.load("runpod").skus["ADA_24"].history, day, "runpod/ADA_24")
        for day in (date(2026, 5, 12), date(2026, 5, 13))
    )

    assert before.always_on_nanodollars_per_hour == 210_000 * 3600
    assert after.always_on_nanodollars_per_hour == 310_000 * 3600


def _rate(nanodollars: int, tiers: tuple[Tier, ...] = ()) -> Rate:
    return Rate(
        effective=TODAY,
        nanodollars=nanodollars,
        tiers=tiers,
        free=Free(amount=1, period=Period.DAY),
        as_of=TODAY,
        source="test",
        confidence=prices.Confidence.PRIMARY,
    )


@pytest.mark.parametrize(
    ("quantity", "nanodollars"),
    [(0, 0), (1, 70), (1000, 70_000), (1001, 70_050), (Fraction(3, 2), 105), (3000, 70_000 + 1000 * 50 + 1000 * 40)],
    ids=str,
)
def test_each_tier_prices_its_own_part(quantity: int | Fraction, nanodollars: int) -> None:
    """Crossing into a tier changes the price of what is beyond, not of what came before."""
    rate = _rate(70, (Tier(above=1000, nanodollars=50), Tier(above=2000, nanodollars=40)))

    assert rate.nanodollars_for(quantity) == nanodollars


@given(st.integers(1, 10**6), st.integers(0, 10**9), st.integers(0, 10**6))
def test_more_or_dearer_never_costs_less(nanodollars: int, quantity: int, more: int) -> None:
    """Whatever the amounts."""
    least = _rate(nanodollars).nanodollars_for(quantity)

    assert _rate(nanodollars + more).nanodollars_for(quantity) >= least
    assert _rate(nanodollars).nanodollars_for(quantity + more) >= least
