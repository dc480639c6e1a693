"""The global budget is exact to the micro-dollar."""

from __future__ import annotations

import pytest

from gate.plan import STARTER_CONFIG
from gate.settings import LedgerKind
from tests.cli.conftest import Operator, job_of
from twohop.documents import as_document

CONFIG = as_document(STARTER_CONFIG)


@pytest.mark.parametrize(
    ("typed", "microdollars"),
    [("5", 5_000_000), ("$2.5", 2_500_000), ("0.000001", 1), ("0", 0), ("999999.999999", 999_999_999_999)],
)
def test_dollars_become_micro_dollars_exactly(operator: Operator, typed: str, microdollars: int) -> None:
    """No floating point comes near them."""
    assert operator.types(f"budget set month={typed}").exit_code == 0

    assert operator.stored("gate/config") == {**CONFIG, "budget_microdollars_per_month": microdollars}


def test_set_changes_what_is_typed_and_nothing_else(anywhere: Operator) -> None:
    """On either ledger; which plan a kind of caller gets stays as it is."""
    result = anywhere.types("budget set day=7.25 shards=4")

    assert "day: $5.00 (5,000,000 µ$) → $7.25 (7,250,000 µ$)" in result.stderr
    assert anywhere.stored("gate/config") == {**CONFIG, "budget_microdollars_per_day": 7_250_000, "budget_shards": 4}


def test_show_counts_every_shard(anywhere: Operator) -> None:
    """Held money is spent until it is settled."""
    anywhere.types("budget set shards=2")
    anywhere.holds(job_of("alice", shard=0))
    anywhere.holds(job_of("bob", shard=1))

    shown = anywhere.reads("budget show")

    assert shown["day"]["used_microdollars"] == shown["month"]["used_microdollars"] == 20_000
    assert (shown["shards"], shown["in_flight"]) == (2, 2)


def test_a_change_of_shards_says_what_the_day_can_come_to(operator: Operator) -> None:
    """What one shard spent of the whole budget does not count against the parts of new ones."""
    operator.types("budget set day=0.01")
    operator.holds(job_of("alice"))

    result = operator.types("budget set shards=2")

    assert "this day can come to $0.015" in result.stderr
    assert operator.reads("budget show")["day"]["reach_microdollars"] == 15_000


def test_without_a_configuration_set_points_to_init(operator: Operator) -> None:
    """It cannot guess the plans of callers."""
    operator.in_ledger(lambda store: store.write("gate/config", {}))

    assert operator.types("budget set day=1").exit_code == 2


def test_init_never_overwrites(anywhere: Operator) -> None:
    """It may be run at any time, also beside a malformed document."""
    anywhere.types("budget set day=7")
    anywhere.types("plan set free burst=9")
    anywhere.stores("plans/anonymous", {"burst": 3})

    result = anywhere.types("init")

    assert anywhere.stored("gate/config")["budget_microdollars_per_day"] == 7_000_000
    assert anywhere.stored("plans/free")["burst"] == 9
    assert anywhere.stored("plans/anonymous") == {"burst": 3}
    assert result.stdout.count("kept as it is") == 3
    assert "plans/anonymous is malformed" in result.stderr


def test_init_says_what_it_wrote() -> None:
    """In a folder where nothing is, the path must be said."""
    operator = Operator("--sqlite-path", "new/ledger.sqlite3", kind=LedgerKind.SQLITE)

    result = operator.types("init")

    assert result.exit_code == 0
    assert result.stdout.count("written") == 3
