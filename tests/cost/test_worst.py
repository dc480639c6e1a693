"""The worst case is the lowest bound of the GPU and the sum of what refusing costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from twohop.cost.book import book_of
from twohop.cost.deployed import Function, functions
from twohop.cost.worst import Configured, remedies, worst_case

INFER = Function(name="infer", instances_max=10, memory_gib=0.5, concurrency=200, timeout_seconds=300, public=True)
SWEEP = replace(INFER, name="sweep", instances_max=1, public=False)
CONFIGURED = Configured(
    book=book_of("runpod/ADA_24", on=date(2026, 11, 25)),
    functions=(INFER, SWEEP),
    budget_microdollars_per_day=100_000_000,
    budget_microdollars_per_month=1_000_000_000,
    budget_microdollars_per_hour=None,
    plan_microdollars_per_day=250_000,
    workers_max=3,
    account_microdollars_per_hour=80_000_000,
    gate_vcpus=1.0,
    requests_per_second=100,
    accounts_per_hour=1_000,
)


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
        pytest.param({"accounts_per_hour": 10}, "the callers' plans", 60_000_000, id="plans"),
    ],
)
def test_the_limit_that_binds_is_the_lowest(changes: dict[str, int], binding: str, a_day: int) -> None:
    """Each of them can be it."""
    bound = worst_case(replace(CONFIGURED, **changes)).binding()  # type: ignore[arg-type]  # rows hold ints alone

    assert (bound.name, bound.microdollars_per_day) == (binding, a_day)


def test_refused_traffic_costs_instances_invocations_and_writes() -> None:
    """Worked out by hand, for an hour.

    Ten instances: 10 x 3 600 s x (1 x $0.000024 + 0.5 x $0.0000025) = $0.909. A hundred requests a second each:
    3 600 000 x $0.0000004 = $1.44. A thousand accounts, 60 tries at each of 10 instances: 600 000 x (12 x
    $0.0000009 + $0.0000003) = $6.66. The sweeper is not public.
    """
    found = {bound.name: bound.microdollars_per_hour for bound in worst_case(CONFIGURED).refused}

    assert found == {
        "instances that refuse": 909_000,
        "invocations that are refused": 1_440_000,
        "refusals of signed-in callers": 6_660_000,
    }


def test_the_first_remedy_saves_most() -> None:
    """And no remedy makes it worse."""
    saved = [remedy.saved_microdollars_per_day for remedy in remedies(CONFIGURED)]

    assert saved == sorted(saved, reverse=True)
    assert saved[-1] >= 0
    assert saved[0] > 0


def test_a_tighter_setting_never_loses_more() -> None:
    """Fewer workers, a smaller budget, fewer instances."""
    most = worst_case(CONFIGURED).microdollars_per_day

    for changes in ({"workers_max": 1}, {"budget_microdollars_per_day": 1}, {"functions": (SWEEP,)}):
        assert worst_case(replace(CONFIGURED, **changes)).microdollars_per_day <= most


def test_what_is_deployed_is_read_from_main() -> None:
    """Not from a copy of it."""
    found = {function.name: function for function in functions()}

    assert found["infer"].public
    assert found["infer"].instances_max == 10
    assert not found["sweep"].public
