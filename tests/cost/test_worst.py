"""The worst case is the lowest bound on what jobs cost, and the sum of what refusing costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import msgspec
import pytest

from gate.domain.plan import STARTER_CONFIG, STARTER_PLANS, Budget, Cohort
from gate.money import Tariff, gate_price
from twohop.cost.assumed import REASONS, Assumed
from twohop.cost.book import book_of
from twohop.cost.deployed import Function, functions
from twohop.cost.remedies import remedies
from twohop.cost.worst import Configured, worst_case

TODAY = date(2026, 11, 25)
BOOK = book_of("runpod/ADA_24", on=TODAY)
INFER = Function(name="infer", instances_max=10, memory_gib=0.5, concurrency=200, timeout_seconds=300, public=True)
SWEEP = replace(INFER, name="sweep", instances_max=1, public=False)
CONFIG = msgspec.structs.replace(
    STARTER_CONFIG, budget_microdollars_per_day=100_000_000, budget_microdollars_per_month=1_000_000_000
)
CONFIGURED = Configured(
    book=BOOK,
    functions=(INFER, SWEEP),
    config=CONFIG,
    plans=STARTER_PLANS,
    model="default",
    tariff=Tariff(gpu=BOOK.gpu, gate=gate_price(on=TODAY), start_ms_max=60_000, idle_ms=5_000),
    execution_ms_max=30_000,
    wait_ms_max=120_000,
    workers_max=3,
    account_microdollars_per_hour=80_000_000,
    assumed=Assumed(requests_per_second=100),
)
BOTH = {Cohort.ANONYMOUS: Budget(microdollars_per_day=3), Cohort.VERIFIED: Budget(microdollars_per_hour=1)}


def configured(**changes: Any) -> Configured:
    """Return the settings above with others, each where it belongs."""
    own = {name: changes.pop(name) for name in list(changes) if name in Configured.__slots__}
    return replace(CONFIGURED, config=msgspec.structs.replace(CONFIG, **changes), **own)


@pytest.mark.parametrize(
    ("changes", "binding", "a_day"),
    [
        # 3 x $1.116 x 24 h
        pytest.param({}, "the workers", 80_352_000, id="workers"),
        pytest.param({"budget_microdollars_per_day": 5_000_000}, "the day's budget", 5_000_000, id="day"),
        # $1 x 24
        pytest.param({"budget_microdollars_per_hour": 1_000_000}, "the hour's budget", 24_000_000, id="hour"),
        pytest.param({"budget_microdollars_per_month": 7_000_000}, "the month's budget", 7_000_000, id="month"),
        # $2 x 24
        pytest.param(
            {"account_microdollars_per_hour": 2_000_000}, "the provider's account", 48_000_000, id="account"
        ),
        # 10 x 24 accounts x $0.25
        pytest.param({"assumed": Assumed(accounts_per_hour=10)}, "the callers' plans", 60_000_000, id="plans"),
        # $0.000003, and $0.000001 x 24
        pytest.param({"cohort_budgets": BOTH}, "the cohorts' budgets", 27, id="cohorts"),
        pytest.param(
            {"model_budgets": {"default": Budget(microdollars_per_day=9)}},
            "the day's budget of default",
            9,
            id="model",
        ),
    ],
)
def test_the_limit_that_binds_is_the_lowest(changes: dict[str, Any], binding: str, a_day: int) -> None:
    """Each of them can be it."""
    bound = worst_case(configured(**changes)).binding()

    assert (bound.name, bound.microdollars_per_day) == (binding, a_day)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {"cohort_budgets": {Cohort.ANONYMOUS: Budget(microdollars_per_day=1)}}, id="one-cohort-has-none"
        ),
        # Newcomers who have a plan of their own are a third cohort.
        pytest.param(
            {"cohort_budgets": BOTH, "plans": {**CONFIG.plans, Cohort.NEW: "free"}}, id="newcomers-have-none"
        ),
        pytest.param({"model_budgets": {"another": Budget(microdollars_per_day=1)}}, id="another-model"),
    ],
)
def test_a_budget_that_does_not_hold_for_everybody_bounds_nothing(changes: dict[str, Any]) -> None:
    """Whoever has none would spend on."""
    plans = changes.pop("plans", CONFIG.plans)
    config = msgspec.structs.replace(CONFIG, plans=plans, **changes)

    assert worst_case(replace(CONFIGURED, config=config)).binding().name == "the workers"


@pytest.mark.parametrize(
    ("changes", "an_hour", "a_day"),
    [
        # The workers bind what jobs cost: there are no others.
        pytest.param({}, 0, 0, id="workers-bind"),
        # 3 x $1.116 x 72 minutes; in an hour the workers bind.
        pytest.param({"budget_microdollars_per_day": 5_000_000}, 0, 4_017_600, id="late-on-the-budget"),
        # $3.348 an hour - $1
        pytest.param({"budget_microdollars_per_hour": 1_000_000}, 2_348_000, 4_017_600, id="hour"),
        # 24 x $3.348 - $79
        pytest.param({"budget_microdollars_per_day": 79_000_000}, 0, 1_352_000, id="nothing-beyond-all-workers"),
        # 24 x $3.348 - $5
        pytest.param(
            {"budget_microdollars_per_day": 5_000_000, "count_overhead": False}, 0, 75_352_000, id="not-counted"
        ),
        pytest.param({"workers_max": None, "account_microdollars_per_hour": None}, 0, 0, id="nobody-knows"),
    ],
)
def test_workers_without_a_job_cost_what_the_budget_does_not_know_yet(
    changes: dict[str, Any], an_hour: int, a_day: int
) -> None:
    """They are beside the budget until the reconciliation has counted their hour, and then in it."""
    found = worst_case(configured(**changes))

    beside = found.without_jobs
    assert (beside.microdollars_per_hour, beside.microdollars_per_day) == (an_hour, a_day)
    refused = sum(one.microdollars_per_day for one in found.refused)
    assert found.microdollars_per_day == found.binding().microdollars_per_day + a_day + refused


def test_a_shorter_timeout_makes_plans_of_few_calls_cheaper() -> None:
    """Twenty calls a day cost at most twenty times what a job can cost until its timeout."""
    plan = msgspec.structs.replace(STARTER_PLANS["free"], requests_per_day=1)
    slow = replace(CONFIGURED, plans={"free": plan}, assumed=Assumed(accounts_per_hour=1), workers_max=100)
    # (30 s + 60 s + 5 s) x $0.00031, and hop 1's own: 120 s x ($0.000024 + 0.5 x $0.0000025) + the rest
    job = 29_450 + 3_030 + 12 + 18
    found = {one.name: one for one in worst_case(slow).gpu_bounds}["the callers' plans"]

    assert found.microdollars_per_hour == slow.job_microdollars_max == pytest.approx(job, abs=10)
    assert replace(slow, execution_ms_max=10_000).job_microdollars_max < job
    assert "timeout of 30 s" in found.because


def test_refused_traffic_costs_all_that_hop_1_does_for_it() -> None:
    """Worked out by hand, for an hour.

    Ten instances: 10 x 3 600 s x (1 x $0.000024 + 0.5 x $0.0000025) = $0.909; the sweeper, which is not public, a
    tenth of it. A hundred calls a second at each are 3 600 000: x $0.0000004 = $1.44; x 1 000 bytes = 3.3527613 GiB x
    $0.12 = $0.402332 of egress, and x $0.50 = $1.676381 of logs; x $0.0000003 = $1.08 of reads. A thousand accounts,
    60 tries at each of 10 instances: 600 000 x (5 x $0.0000009 + $0.0000001) = $2.76 of writes and deletions.
    """
    found = {bound.name: bound.microdollars_per_hour for bound in worst_case(CONFIGURED).refused}

    assert found == {
        "instances that refuse": 909_000,
        "invocations": 1_440_000,
        "egress": 402_332,
        "logs": 1_676_381,
        "Firestore reads": 1_080_000,
        "Firestore writes": 2_760_000,
        "scheduled functions": 90_900,
    }


def test_the_first_remedy_saves_most_and_saves_what_it_says() -> None:
    """Each is computed again with that setting changed alone, and none makes it worse."""
    base, found = worst_case(CONFIGURED).microdollars_per_day, remedies(CONFIGURED)
    fewer = worst_case(replace(CONFIGURED, workers_max=1)).microdollars_per_day

    saved = [remedy.saved_microdollars_per_day for remedy in found]
    assert saved == sorted(saved, reverse=True)
    assert saved[-1] >= 0
    assert all(base - one.saved_microdollars_per_day == one.microdollars_per_day for one in found)
    by_setting = {one.setting: one for one in found}
    assert by_setting["max workers at the provider"].microdollars_per_day == fewer
    assert found[0].setting == "max_instances of the functions (main.py)"


def test_every_setting_that_bounds_is_tried_as_a_remedy() -> None:
    """Or the advice would not name the one that helps most."""
    every = configured(
        cohort_budgets=BOTH,
        model_budgets={"default": Budget(microdollars_per_day=9)},
        budget_microdollars_per_hour=1_000_000,
    )

    tried = " ".join(remedy.setting for remedy in remedies(every))
    for words in (
        "_per_hour",
        "_per_day",
        "_per_month",
        "cohort_budgets",
        "model_budgets",
        "plans'",
        "max_instances",
    ):
        assert words in tried
    assert "EXECUTION_SECONDS_MAX" in tried
    assert "max workers" in tried


def test_a_tighter_setting_never_loses_more() -> None:
    """Fewer workers, a smaller budget, fewer instances."""
    most = worst_case(CONFIGURED).microdollars_per_day

    for tighter in (
        configured(workers_max=1),
        configured(budget_microdollars_per_day=1),
        configured(functions=(SWEEP,)),
        configured(assumed=Assumed(requests_per_second=1)),
    ):
        assert worst_case(tighter).microdollars_per_day <= most


def test_every_assumption_has_its_reason() -> None:
    """A number without one is a guess."""
    assert set(REASONS) == set(Assumed.__struct_fields__)


def test_what_is_deployed_is_read_from_main() -> None:
    """Not from a copy of it."""
    found = {function.name: function for function in functions()}

    assert found["infer"].public
    assert found["infer"].instances_max == 10
    assert not found["sweep"].public
