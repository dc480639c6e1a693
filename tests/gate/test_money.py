"""Bills added up by hand, and the promises that hold for every bill."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gate.errors import SettingsError
from gate.money import GatePrice, GpuPrice, Operations, Spent, Tariff, gate_price, gpu_price, own_price
from tests.makers import make_model

TODAY = date(2026, 11, 21)

CHEAPEST = make_model().tariff
"""runpod/AMPERE_16: 160 000 n$/s by whole seconds, starts and idle tails billed; start at most 60 s, tail 5 s."""


# Hop 1's part of any job: 400 for the invocation + 3 reads x 300 + 6 writes x 900 = 6 700 n$,
# and 24 000 + 0.5 x 2 500 = 25 250 n$ for each second that the call is held open.
@pytest.mark.parametrize(
    ("spent", "microdollars"),
    [
        # 1 s + 5 s tail = 6 s x 160 000 = 960 000; + 6 700 + 1 x 25 250 = 991 950 n$
        pytest.param(Spent(execution_ms=1_000, wait_ms=1_000), 992, id="warm-one-second"),
        # 0.001 s + 5 s is billed as 6 s: 960 000; + 6 700 + 25.25 up to 26 = 966 726 n$
        pytest.param(Spent(execution_ms=1, wait_ms=1), 967, id="warm-one-millisecond"),
        # 1.2 s + 0.8 s start + 5 s tail = 7 s x 160 000 = 1 120 000; + 6 700 + 2 x 25 250 = 1 177 200 n$
        pytest.param(Spent(execution_ms=1_200, start_ms=800, wait_ms=2_000), 1_178, id="cold"),
        # nothing but the tail: 5 s x 160 000 = 800 000; + 6 700 = 806 700 n$
        pytest.param(Spent(execution_ms=0), 807, id="nothing"),
        # a start of 100 s is billed though the longest was said to be 60 s: 106 s x 160 000 = 16 960 000; + 6 700
        pytest.param(Spent(execution_ms=1_000, start_ms=100_000), 16_967, id="start-over-the-longest"),
    ],
)
def test_a_job_costs_what_adding_it_up_by_hand_gives(spent: Spent, microdollars: int) -> None:
    """The arithmetic is in the comments, in nano-dollars, rounded up at the end."""
    assert CHEAPEST.microdollars(spent) == microdollars


def test_the_worst_case_is_the_longest_of_everything() -> None:
    """30 s + 60 s start + 5 s tail = 95 s x 160 000 = 15 200 000; + 120 x 25 250 = 3 030 000 for the open call.

    A token adds a write, a webhook an invocation, a read and a write: 2 x 400 + 4 x 300 + 8 x 900 = 9 200 n$. Whoever
    waits looks every 2 s whether the job is cancelled: 60 x 300 = 18 000 n$.
    """
    assert CHEAPEST.worst_case_microdollars(execution_ms_max=30_000, wait_ms_max=120_000) == 18_258

    # The served model adds 20 s of hop 1 for winding up: 20 x 25 250 + 10 x 300 = 508 000 n$.
    assert make_model().worst_case_microdollars == 18_766


@pytest.mark.parametrize(
    ("bills", "microdollars"),
    [
        # 2 s + 3 s start + 5 s tail = 10 s x 160 000 = 1 600 000; + 6 700 n$
        pytest.param({"bills_start": True, "bills_idle": True}, 1_607, id="both"),
        pytest.param({"bills_start": False, "bills_idle": True}, 1_127, id="no-start"),
        pytest.param({"bills_start": True, "bills_idle": False}, 807, id="no-tail"),
        pytest.param({"bills_start": False, "bills_idle": False}, 327, id="neither"),
    ],
)
def test_a_start_and_a_tail_cost_only_where_they_are_billed(bills: dict[str, Any], microdollars: int) -> None:
    """Providers differ in this; the table says which bills what."""
    tariff = replace(CHEAPEST, gpu=replace(CHEAPEST.gpu, **bills))

    assert tariff.microdollars(Spent(execution_ms=2_000, start_ms=3_000)) == microdollars


@pytest.mark.parametrize(("nanodollars", "microdollars"), [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)], ids=str)
def test_an_amount_is_rounded_up_to_the_next_microdollar(nanodollars: int, microdollars: int) -> None:
    """A micro-dollar too much, never too little."""
    gate = replace(
        CHEAPEST.gate, nanodollars_per_invocation=nanodollars, nanodollars_per_read=0, nanodollars_per_write=0
    )
    tariff = Tariff(gpu=own_price(nanodollars_per_second=0, on=TODAY), gate=gate, start_ms_max=0, idle_ms=0)

    assert tariff.microdollars(Spent(execution_ms=1)) == microdollars


def test_a_share_of_a_processor_is_rounded_up_too() -> None:
    """0.3 GiB at 1 n$ a second is a nano-dollar a second, not nothing: 1 000 s of it are a micro-dollar."""
    gate = GatePrice(
        nanodollars_per_invocation=0,
        nanodollars_per_read=0,
        nanodollars_per_write=0,
        nanodollars_per_vcpu_second=0,
        nanodollars_per_gib_second=1,
        as_of=TODAY,
        source="test",
    )
    gpu = own_price(nanodollars_per_second=0, on=TODAY)
    tariff = Tariff(gpu=gpu, gate=gate, start_ms_max=0, idle_ms=0, gate_vcpus=0.0, gate_gib=0.3)

    assert tariff.microdollars(Spent(execution_ms=0, wait_ms=1_000_000)) == 1


_ms = st.integers(0, 3_600_000)
_rate = st.integers(0, 10_000_000)
_gpus = st.builds(
    GpuPrice,
    hardware=st.just("x/y"),
    nanodollars_per_hour=_rate.map(lambda rate: rate * 3600),
    granularity_ms=st.sampled_from([1, 100, 1_000, 60_000]),
    min_charge_ms=st.sampled_from([0, 60_000]),
    bills_start=st.booleans(),
    bills_idle=st.booleans(),
    as_of=st.just(TODAY),
    source=st.just("test"),
)
_gates = st.builds(
    GatePrice,
    nanodollars_per_invocation=_rate,
    nanodollars_per_read=_rate,
    nanodollars_per_write=_rate,
    nanodollars_per_vcpu_second=_rate,
    nanodollars_per_gib_second=_rate,
    as_of=st.just(TODAY),
    source=st.just("test"),
)
_tariffs = st.builds(
    Tariff,
    gpu=_gpus,
    gate=_gates,
    start_ms_max=_ms,
    idle_ms=_ms,
    gate_vcpus=st.floats(0, 8),
    gate_gib=st.floats(0, 32),
)
_operations = st.builds(Operations, invocations=st.integers(1, 2), reads=st.integers(0, 4), writes=st.integers(6, 8))
_spent = st.builds(Spent, execution_ms=_ms, start_ms=_ms, wait_ms=_ms, operations=_operations)


@given(_tariffs, _spent, _ms, _ms)
def test_no_job_within_its_timeouts_costs_more_than_its_worst_case(
    tariff: Tariff, spent: Spent, spare_execution_ms: int, spare_wait_ms: int
) -> None:
    """So a hold covers its settlement, unless a start took longer than the settings say that it can."""
    spent = replace(spent, start_ms=min(spent.start_ms, tariff.start_ms_max))
    worst = tariff.worst_case_microdollars(
        execution_ms_max=spent.execution_ms + spare_execution_ms, wait_ms_max=spent.wait_ms + spare_wait_ms
    )

    assert tariff.microdollars(spent) <= worst


@given(_tariffs, _spent, st.sampled_from(["execution_ms", "start_ms", "wait_ms"]), _ms)
def test_more_time_never_costs_less(tariff: Tariff, spent: Spent, which: str, more: int) -> None:
    """Else a caller could save by being slow."""
    longer = replace(spent, **{which: getattr(spent, which) + more})

    assert tariff.microdollars(longer) >= tariff.microdollars(spent)


@given(
    _tariffs,
    _spent,
    st.sampled_from(
        [
            "gpu.nanodollars_per_hour",
            "gate.nanodollars_per_invocation",
            "gate.nanodollars_per_write",
            "gate.nanodollars_per_vcpu_second",
            "gate.nanodollars_per_gib_second",
        ]
    ),
    _rate,
)
def test_a_higher_rate_never_costs_less(tariff: Tariff, spent: Spent, which: str, more: int) -> None:
    """Each rate counts, and counts in the right direction."""
    part, rate = which.split(".")
    price = getattr(tariff, part)
    dearer = replace(tariff, **{part: replace(price, **{rate: getattr(price, rate) + more})})

    assert dearer.microdollars(spent) >= tariff.microdollars(spent)


@given(_tariffs, _spent)
def test_an_amount_is_whole_and_never_negative(tariff: Tariff, spent: Spent) -> None:
    """A counter is moved by it."""
    amount = tariff.microdollars(spent)

    assert type(amount) is int
    assert amount >= 0


@pytest.mark.parametrize(
    ("hardware", "remedy"),
    [
        pytest.param("runpod/NO_SUCH_GPU", "gate/prices/runpod.json", id="unknown-sku"),
        pytest.param("runpod/", "gate/prices/runpod.json", id="no-sku"),
        pytest.param("nobody/H100", "provider/sku", id="unknown-provider"),
        pytest.param("H100", "provider/sku", id="no-provider"),
        pytest.param("", "provider/sku", id="nothing"),
        pytest.param("google/AMPERE_16", "provider/sku", id="a-table-without-hardware"),
        pytest.param("../prices/runpod", "provider/sku", id="a-path"),
        pytest.param("runpod\0/AMPERE_16", "provider/sku", id="nul"),
        pytest.param("own", "provider/sku", id="own-is-no-table"),
    ],
)
def test_unknown_hardware_is_refused_with_the_remedy(hardware: str, remedy: str) -> None:
    """What cannot be priced is not served."""
    with pytest.raises(SettingsError, match=remedy):
        gpu_price(hardware, on=TODAY)


def test_a_price_carries_its_date_and_source() -> None:
    """Whoever reads a bill can check it."""
    price = gpu_price("runpod/AMPERE_16", on=TODAY)

    assert (price.nanodollars_per_hour, price.granularity_ms) == (160_000 * 3600, 1_000)
    assert price.as_of <= TODAY
    assert price.source


@pytest.mark.parametrize(
    ("hardware", "dollars_per_hour"),
    [
        # (186 700 for the L4 + 4 vCPU x 18 000 + 16 GiB x 2 000) n$ = 290 700 n$/s
        pytest.param("cloudrun/L4", "1.04652", id="processors-and-memory-included"),
        # (1 097 000 + 2 x 13 100 + 16 x 2 220) n$ = 1 158 720 n$/s
        pytest.param("modal/H100", "4.171392", id="what-is-reserved-beside-the-gpu"),
        # the same x 3
        pytest.param("modal/H100+non_preemptible", "12.514176", id="a-choice-that-multiplies"),
        # the same x 3 x 1.75
        pytest.param("modal/H100+non_preemptible+region", "21.899808", id="two-choices"),
        pytest.param("huggingface/AWS_T4", "0.5", id="by-the-hour"),
    ],
)
def test_a_worker_costs_all_that_is_billed_for_it(hardware: str, dollars_per_hour: str) -> None:
    """A GPU that cannot be had without its processors is not priced without them."""
    assert gpu_price(hardware, on=TODAY).nanodollars_per_hour == Decimal(dollars_per_hour) * 10**9


def test_a_choice_that_a_provider_does_not_offer_is_refused() -> None:
    """A mistyped choice must not be served at the lower price."""
    with pytest.raises(SettingsError, match=r"modal\.json knows: non_preemptible, region"):
        gpu_price("modal/H100+nonpreemptible", on=TODAY)


@pytest.mark.parametrize(
    ("milliseconds", "billed"),
    [
        pytest.param(0, 0, id="nothing"),
        pytest.param(1, 60_000, id="the-least"),
        pytest.param(60_000, 60_000, id="exactly"),
        pytest.param(60_001, 61_000, id="the-next-step"),
    ],
)
def test_a_use_is_billed_by_whole_steps_and_at_least_the_minimum(milliseconds: int, billed: int) -> None:
    """Some providers bill a minute even for a second."""
    assert replace(CHEAPEST.gpu, granularity_ms=1_000, min_charge_ms=60_000).billed_ms(milliseconds) == billed


def test_hop_1_has_no_price_before_its_history_begins() -> None:
    """The same rule for Google's part."""
    with pytest.raises(SettingsError, match="google"):
        gate_price(on=date(1999, 1, 1))


def test_ones_own_price_is_taken_as_said() -> None:
    """By the millisecond, start and tail too: (1.5 + 5 + 9) s x 1 000 000 n$ = 15 500 micro-dollars; + 6 700 n$."""
    price = own_price(nanodollars_per_second=1_000_000, on=TODAY)
    tariff = Tariff(gpu=price, gate=gate_price(on=TODAY), start_ms_max=9_000, idle_ms=9_000)

    assert tariff.microdollars(Spent(execution_ms=1_500, start_ms=5_000)) == 15_507
    assert price.hardware == "own"
