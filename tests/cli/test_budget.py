"""The global budget is exact to the micro-dollar."""

from __future__ import annotations

import pytest

from gate.domain.limits import Move, Periods
from gate.domain.plan import STARTER_CONFIG
from gate.settings import LedgerKind
from tests.cli.conftest import Operator, job_of
from tests.makers import FakeClock
from twohop.documents import as_document

CONFIG = as_document(STARTER_CONFIG)
_THIS_DAY = (*Periods.of(FakeClock().now()).day, "microdollars")


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


def test_the_number_of_shards_says_nothing_about_what_may_be_spent(anywhere: Operator) -> None:
    """They lend to each other: what one spent of the whole counts for all."""
    anywhere.types("budget set day=0.01")
    anywhere.holds(job_of("alice"))

    result = anywhere.types("budget set shards=8")

    assert "shards: 1 → 8" in result.stderr
    shown = anywhere.reads("budget show")["day"]
    assert shown == {"limit_microdollars": 10_000, "used_microdollars": 10_000}


def test_every_scope_and_period_can_be_set_and_taken_away(anywhere: Operator) -> None:
    """What is not typed stays; a scope of which nothing is left is gone."""
    scoped = "cohort:anonymous.day=1 cohort:anonymous.hour=0.25 model:tiny-v1.5.month=20"
    result = anywhere.types(f"budget set hour=1 {scoped}")
    assert "cohort:anonymous.day: none → $1.00 (1,000,000 µ$)" in result.stderr
    assert anywhere.stored("gate/config") == {
        **CONFIG,
        "budget_microdollars_per_hour": 1_000_000,
        "cohort_budgets": {"anonymous": {"microdollars_per_day": 1_000_000, "microdollars_per_hour": 250_000}},
        "model_budgets": {"tiny-v1.5": {"microdollars_per_month": 20_000_000}},
    }

    anywhere.types("budget set hour=none cohort:anonymous.hour=none model:tiny-v1.5.month=none")

    assert anywhere.stored("gate/config") == {
        **CONFIG,
        "cohort_budgets": {"anonymous": {"microdollars_per_day": 1_000_000}},
    }


def test_show_counts_cohorts_and_models_with_and_without_a_budget(anywhere: Operator) -> None:
    """Who wants to set a budget wants to know first what would be in it."""
    anywhere.types("budget set shards=2 cohort:verified.hour=0.05")
    anywhere.holds(job_of("alice", shard=0, cohort="verified", model="tiny"))
    anywhere.holds(job_of("bob", shard=1, cohort="verified", model="tiny"))
    anywhere.holds(job_of("eve", shard=1, cohort="anonymous", model="tiny"))

    shown = anywhere.reads("budget show")

    assert shown["hour"] == {"limit_microdollars": None, "used_microdollars": 30_000}
    assert shown["cohorts"] == {
        "anonymous": {"month": {"limit_microdollars": None, "used_microdollars": 10_000}},
        "verified": {"hour": {"limit_microdollars": 50_000, "used_microdollars": 20_000}},
    }
    assert shown["models"] == {"tiny": {"month": {"limit_microdollars": None, "used_microdollars": 30_000}}}


def test_a_budgets_name_is_shown_whole(operator: Operator) -> None:
    """It is what is typed to change it, also where a model's name is long."""
    operator.holds(job_of("alice", model="bge-small-en-v1.5-quantized"))

    shown = operator.types("budget show").stdout

    assert "model:bge-small-en-v1.5-quantized.month" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_a_lowered_budget_brings_the_loans_home(operator: Operator) -> None:
    """What the first shard lent of the larger budget would be spent beside the smaller one."""
    operator.types("budget set shards=2")
    lent = Move(account="budget/0", counter=_THIS_DAY, amount=4_000_000)
    borrowed = Move(account="budget/1", counter=_THIS_DAY, amount=-4_000_000)
    operator.in_ledger(lambda store: store.rebalance("budget/", lambda _: [lent, borrowed]))

    operator.types("budget set day=1")

    counters = operator.in_ledger(lambda store: store.counters("budget/1"))
    assert counters[_THIS_DAY] == 0


def test_what_is_used_already_beyond_a_lowered_budget_is_said(operator: Operator) -> None:
    """It is why everybody is refused from now on."""
    operator.holds(job_of("alice"))

    result = operator.types("budget set day=0.005")

    assert "day: $0.01 is used already" in result.stderr


def test_a_change_never_undoes_a_kill(operator: Operator) -> None:
    """Both are fields of one document."""
    operator.types("kill 4 --reason flood")

    operator.types("budget set day=1")

    assert operator.stored("gate/config")["kill_level"] == 4


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        pytest.param("day=none", "without it nothing bounds the bill", id="no-day"),
        pytest.param("cohort:strangers.day=1", "cohort_budgets", id="no-such-cohort"),
        pytest.param("cohort:new.week=1", "model:NAME.day", id="no-such-period"),
        pytest.param("cohort:new.day=1 cohort:new.day=2", "given twice", id="twice"),
    ],
)
def test_what_cannot_be_a_budget_is_refused(operator: Operator, typed: str, said: str) -> None:
    """And nothing is written."""
    result = operator.types(f"budget set {typed}")

    assert result.exit_code == 2
    assert said in result.stderr
    assert operator.stored("gate/config") == CONFIG


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
