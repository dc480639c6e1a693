"""Golden bills, worked out by hand from the prices' own pages, to the micro-dollar."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twohop.cost.bill import Bill, Used, bill
from twohop.cost.book import Book, book_of
from twohop.cost.fleet import Lived
from twohop.cost.forecast import forecast
from twohop.cost.month import month_of
from twohop.cost.scenario import Design, Scenario
from twohop.cost.use import operations, used

TODAY = date(2026, 11, 25)
DAYS = 30


def _book(hardware: str = "runpod/ADA_24") -> Book:
    return book_of(hardware, on=TODAY)


def _evenly(amount: float) -> list[Fraction]:
    return [Fraction(amount) / DAYS] * DAYS


# Dollars as Google's and the hosts' pages state them; the free amounts are taken off first.
@pytest.mark.parametrize(
    ("item", "amount", "microdollars"),
    [
        # 3 M requests - 2 M free = 1 M x $0.40 a million
        pytest.param("requests", 3_000_000, 400_000, id="requests"),
        pytest.param("requests", 2_000_000, 0, id="requests-all-free"),
        # 30 M vCPU-seconds (a million calls held 30 s) - 180 000 = 29 820 000 x $0.000024
        pytest.param("vcpu_seconds", 30_000_000, 715_680_000, id="cpu"),
        # 15 M GiB-seconds - 360 000 = 14 640 000 x $0.0000025
        pytest.param("gib_seconds", 15_000_000, 36_600_000, id="memory"),
        # 6 M writes - 30 x 20 000 = 5.4 M x $0.09 / 100 000
        pytest.param("firestore_writes", 6_000_000, 4_860_000, id="writes"),
        # 8 M reads - 30 x 50 000 = 6.5 M x $0.03 / 100 000
        pytest.param("firestore_reads", 8_000_000, 1_950_000, id="reads"),
        # a million deletes by TTL x $0.01 / 100 000, none free
        pytest.param("firestore_ttl_deletes", 1_000_000, 100_000, id="ttl-deletes"),
        # 600 000 deletes are 20 000 a day, all free
        pytest.param("firestore_deletes", 600_000, 0, id="deletes"),
        # (3 - 1) GiB-months x $0.15
        pytest.param("firestore_storage", 3, 300_000, id="storage"),
        # (11 - 1) GiB x $0.12
        pytest.param("egress", 11, 1_200_000, id="egress"),
        # (8 - 6) versions x $0.06
        pytest.param("secret_versions", 8, 120_000, id="secrets"),
        # (60 - 50) GiB x $0.50
        pytest.param("logging", 60, 5_000_000, id="logs"),
        # (5 - 3) jobs x $0.10
        pytest.param("scheduler_jobs", 5, 200_000, id="scheduler"),
        # one write beyond the free amount of a single day: $0.0000009, rounded up
        pytest.param("requests", 2_000_001, 1, id="rounded-up"),
        # 20 GB of RunPod's disk for 100 blocks of five minutes: 2 000 x $0.000011574
        pytest.param("container_disk", 2_000, 23_148, id="disk"),
    ],
)
def test_an_item_costs_what_its_page_says(item: str, amount: float, microdollars: int) -> None:
    """The arithmetic is in the comments."""
    made = bill(Used(gpu_ms={}, by_day={item: _evenly(amount)}), _book())

    assert made.microdollars == microdollars


@pytest.mark.parametrize(
    ("hardware", "seconds", "microdollars"),
    [
        # RunPod, 4090: 10 000 s x $0.00031
        pytest.param("runpod/ADA_24", 10_000, 3_100_000, id="runpod-4090"),
        # Hugging Face, T4: 30 days x 24 h x $0.50
        pytest.param("huggingface/AWS_T4", 2_592_000, 360_000_000, id="huggingface-t4-month"),
        # Replicate, H100: 3 600 s x $0.001525
        pytest.param("replicate/H100", 3_600, 5_490_000, id="replicate-h100-hour"),
        # Cloud Run, L4 with 4 vCPU and 16 GiB: 1 000 s x ($0.0001867 + 4 x $0.000018 + 16 x $0.000002)
        pytest.param("cloudrun/L4", 1_000, 290_700, id="cloudrun-l4"),
        # Lambda, H100 SXM: 720 h x $4.29
        pytest.param("lambda/H100_SXM", 2_592_000, 3_088_800_000, id="lambda-month"),
    ],
)
def test_a_gpu_costs_what_its_page_says(hardware: str, seconds: int, microdollars: int) -> None:
    """By the second or by the hour, exactly."""
    made = bill(Used(gpu_ms={"useful": seconds * 1000}, by_day={}), _book(hardware))

    assert made.microdollars == microdollars


def test_a_free_amount_of_a_day_does_not_help_another_day() -> None:
    """600 000 writes in one day: 580 000 are paid; spread over the month, none is."""
    at_once = bill(Used(gpu_ms={}, by_day={"firestore_writes": [Fraction(600_000)]}), _book())
    spread = bill(Used(gpu_ms={}, by_day={"firestore_writes": _evenly(600_000)}), _book())

    assert (at_once.microdollars, spread.microdollars) == (522_000, 0)


def _held_one_by_one() -> Lived:
    """A million calls of 30 s, one every 2.592 s, each with an instance of its own."""
    arrivals = np.arange(1_000_000, dtype=np.float64) * np.float64(2.592)
    return Lived(
        calls=1_000_000,
        refused=0,
        starts=0,
        cold_calls=0,
        useful_seconds=0.0,
        start_seconds=0.0,
        idle_seconds=0.0,
        rounding_seconds=0.0,
        blocks=0,
        waits=np.zeros(1_000_000),
        ends=arrivals + 29.8,
        arrivals=arrivals,
    )


@pytest.mark.parametrize(
    ("design", "lines"),
    [
        pytest.param(
            Design.HOLD,
            {
                # Call and webhook: 2 M + 30 x 1 752 scheduled runs - 2 M = 52 560 x $0.0000004
                "requests": 21_024,
                # 30 M + 1 052 560 x 0.2 s = 30 210 512 - 180 000 = 30 030 512 x $0.000024
                "vcpu_seconds": 720_732_288,
                # half of it, 15 105 256 - 360 000 = 14 745 256 x $0.0000025
                "gib_seconds": 36_863_140,
                # 6 M + 30 x (288 + 2 x 24) by schedules - 600 000 free = 5 410 080 x $0.0000009
                "firestore_writes": 4_869_072,
                # A call of 29.8 s is looked into 14 times, and read as its caller's policy, by its webhook, and an
                # hour later: 17 M.
                # Twelve instances, each with a call every 31.1 s, which finds the plan old: 1 M; as long as a call
                # waits, the configuration is read every 10 s of 30 M: 3 M; a sign of life at every 20th: 50 004.
                # Schedules: 30 x (288 x 13 + 1 440 x 6 + 24 x 4) = 374 400. 21 424 404 - 1.5 M free = 19 924 404 x
                # $0.0000003 = $5.9773212
                "firestore_reads": 5_977_322,
            },
            id="hold",
        ),
        pytest.param(
            Design.POLL,
            {
                # 17 M + 52 560 - 2 M = 15 052 560 x $0.0000004
                "requests": 6_021_024,
                # 17 052 560 x 0.2 s = 3 410 512 - 180 000 = 3 230 512 x $0.000024
                "vcpu_seconds": 77_532_288,
                # 7 M + 10 080 - 600 000 = 6 410 080 x $0.0000009
                "firestore_writes": 5_769_072,
                # Fifteen polls, policy, webhook, an hour later: 18 M. One instance; every fourth call comes 10.4 s
                # after the one that read configuration and plan: 500 000; every 232nd asks for a sign of life: 4 311.
                # With 374 400 by schedules 18 878 711 - 1.5 M = 17 378 711 x $0.0000003 = $5.2136133
                "firestore_reads": 5_213_614,
            },
            id="poll",
        ),
        pytest.param(
            Design.WEBHOOK,
            {
                # 2 M + 52 560 - 2 M = 52 560 x $0.0000004
                "requests": 21_024,
                # 2 052 560 x 0.2 s = 410 512 - 180 000 = 230 512 x $0.000024
                "vcpu_seconds": 5_532_288,
                # 5 M + 500 000 + 4 311 + 374 400 - 1.5 M = 4 378 711 x $0.0000003 = $1.3136133
                "firestore_reads": 1_313_614,
            },
            id="webhook",
        ),
    ],
)
def test_a_million_calls_cost_hop_1_what_adding_it_up_by_hand_gives(design: Design, lines: dict[str, int]) -> None:
    """The three designs differ by what they invoke; the arithmetic is in the comments."""
    scenario = Scenario(calls_per_month=1_000_000, compute_seconds=29.8, design=design, gate_concurrency=1)

    made = bill(used(scenario, month_of(scenario, _held_one_by_one()), _book()), _book())

    assert {key: made.line(key).microdollars for key in lines} == lines


def test_the_docs_say_what_the_three_designs_cost() -> None:
    """In the table of docs/jobs-and-streams.md and in ADR 0007, to the dollar, from the prices that are in effect."""
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "jobs-and-streams.md").read_text("utf-8")
    decision = (docs / "adr" / "0007-jobs-outlive-their-calls.md").read_text("utf-8")
    for design, row in (
        (Design.WEBHOOK, "submit, webhook, a listener on the document"),
        (Design.POLL, "the client asks a function every 2 s"),
        (Design.HOLD, "a call is held open for 30 s, an instance each"),
    ):
        scenario = Scenario(calls_per_month=1_000_000, compute_seconds=29.8, design=design, gate_concurrency=1)
        month = month_of(scenario, _held_one_by_one())
        invocations = operations(scenario, month).invocations
        dollars = f"${bill(used(scenario, month, _book()), _book()).microdollars / 1e6:.0f}"

        assert f"| {row} | {invocations:g} | {dollars} |" in page
        assert f"{dollars} " in decision or f"{dollars}\n" in decision


SMALL = forecast(Scenario(calls_per_month=3_000, compute_seconds=2.0, disk_gb=20), _book())


def _sum(made: Bill) -> int:
    return sum(line.microdollars for line in made.lines)


@pytest.mark.parametrize("design", list(Design))
@pytest.mark.parametrize("hardware", ["runpod/ADA_24", "huggingface/AWS_T4", "cloudrun/L4", "lambda/H100_SXM"])
def test_every_bill_is_the_sum_of_its_lines(hardware: str, design: Design) -> None:
    """And every line has its date and its source."""
    made = forecast(Scenario(calls_per_month=500, compute_seconds=1.5, design=design), _book(hardware))

    assert made.microdollars == _sum(made.bill) > 0
    assert made.ran.billed_seconds * 1000 == pytest.approx(
        float(sum(line.quantity for line in made.bill.lines if line.key.startswith("gpu"))) * 1000, abs=4
    )
    assert all(line.source and line.as_of <= TODAY and line.explained() for line in made.bill.lines)


@settings(deadline=None)
@given(st.sampled_from(sorted(SMALL.book.names())), st.fractions(1, 20))
def test_the_bill_never_falls_as_a_price_rises(name: str, factor: Fraction) -> None:
    """For any price, and any rise."""
    amounts = used(SMALL.scenario, SMALL.ran.month, SMALL.book)

    assert bill(amounts, SMALL.book.multiplied(name, factor)).microdollars >= SMALL.microdollars


def test_calls_that_share_an_instance_share_its_bill() -> None:
    """Hop 1 waits for a GPU most of the time: two hundred calls fit in one instance."""
    alone = forecast(Scenario(calls_per_month=20_000, compute_seconds=5.0, gate_concurrency=1), _book())
    shared = forecast(Scenario(calls_per_month=20_000, compute_seconds=5.0, gate_concurrency=200), _book())

    assert shared.bill.line("vcpu_seconds").quantity < alone.bill.line("vcpu_seconds").quantity
