"""The owner's documents are read strictly: what is not exactly a plan is no plan."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.domain.plan import STARTER_CONFIG, STARTER_PLANS, GateConfig, Plan, UserPolicy, parse, with_overrides
from gate.errors import PolicyError
from tests.makers import GENEROUS, make_plan

FREE: dict[str, Any] = msgspec.to_builtins(STARTER_PLANS["free"])
CONFIG: dict[str, Any] = msgspec.to_builtins(STARTER_CONFIG)
NUMBERS = [name for name, value in FREE.items() if isinstance(value, int)]


@pytest.mark.parametrize("name", sorted(name for name, value in FREE.items() if value is not None))
def test_a_plan_that_leaves_a_limit_out_is_no_plan(name: str) -> None:
    """There is no default for a limit."""
    document = {field: value for field, value in FREE.items() if field != name}

    with pytest.raises(PolicyError, match=f"plans/free is malformed.*{name}"):
        parse(Plan, document, "plans/free")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(5.0, id="float"),
        pytest.param(5.5, id="fraction"),
        pytest.param("5", id="text"),
        pytest.param(None, id="null"),
        pytest.param(True, id="bool"),
        pytest.param([5], id="list"),
        pytest.param(-1, id="negative"),
        pytest.param(10**12 + 1, id="huge"),
        pytest.param(2**70, id="beyond-64-bits"),
        pytest.param(float("inf"), id="infinite"),
    ],
)
def test_a_limit_that_is_no_proper_number_makes_the_plan_malformed(name: str, value: object) -> None:
    """A typing error in the console must not become a limit that nobody meant."""
    with pytest.raises(PolicyError, match=name):
        parse(Plan, {**FREE, name: value}, "plans/free")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"requests_per_dya": 5}, id="misspelt"),
        pytest.param({"requests_per_minute": 0}, id="no-rate"),
        pytest.param({"burst": 0}, id="no-burst"),
        pytest.param({"models": "*"}, id="models-as-text"),
        pytest.param({"models": None}, id="models-null"),
        pytest.param({"models": [1]}, id="model-number"),
        pytest.param({"input_items_max": 0}, id="no-items"),
    ],
)
def test_a_malformed_plan_is_refused(changes: dict[str, Any]) -> None:
    """As a whole: half a plan would be somebody's guess."""
    with pytest.raises(PolicyError):
        parse(Plan, {**FREE, **changes}, "plans/free")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"budget_shards": 0}, id="no-shard"),
        pytest.param({"budget_shards": 513}, id="too-many-shards"),
        pytest.param({"budget_microdollars_per_day": 1.5}, id="fraction"),
        pytest.param({"plans": {"admin": "free"}}, id="unknown-cohort"),
        pytest.param({"plans": {"verified": ""}}, id="empty-name"),
        pytest.param({"plans": {"verified": "a/b"}}, id="slash-in-name"),
        pytest.param({"plans": {"verified": ".."}}, id="dots"),
        pytest.param({"plans": {"verified": None}}, id="null-plan"),
        pytest.param({"kill_levels": 0}, id="unknown-field"),
        pytest.param({"kill_level": 7}, id="no-such-level"),
        pytest.param({"kill_at_percent_of_day": {"7": 80}}, id="threshold-of-no-level"),
        pytest.param({"kill_at_percent_of_day": {"5": 101}}, id="threshold-above-all"),
        pytest.param({"cohort_budgets": {"anonymous": {"per_day": 1}}}, id="unknown-budget"),
    ],
)
def test_a_malformed_configuration_is_refused(changes: dict[str, Any]) -> None:
    """The budget is the owner's last line."""
    with pytest.raises(PolicyError, match="gate/config"):
        parse(GateConfig, {**CONFIG, **changes}, "gate/config")


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"disabled": "true"}, id="disabled-as-text"),
        pytest.param({"disabled": 1}, id="disabled-as-number"),
        pytest.param({"plan": "../free"}, id="plan-with-a-path"),
        pytest.param({"overrides": None}, id="overrides-null"),
        pytest.param({"Disabled": True}, id="misspelt"),
    ],
)
def test_a_malformed_user_is_refused(document: dict[str, Any]) -> None:
    """Whoever meant to disable an account must not find it open."""
    with pytest.raises(PolicyError, match="users/alice"):
        parse(UserPolicy, document, "users/alice")


def test_a_user_of_whom_nothing_is_said_is_nobody_special() -> None:
    """The owner writes a document only for those who are."""
    assert parse(UserPolicy, {}, "users/alice") == UserPolicy()


def test_the_mark_of_the_schema_is_no_field() -> None:
    """Every document may carry one."""
    assert parse(Plan, {**FREE, "schema_version": 1}, "plans/free") == STARTER_PLANS["free"]


def test_empty_models_mean_no_model() -> None:
    """Not all of them: nothing said is nothing allowed."""
    assert parse(Plan, {**FREE, "models": []}, "plans/free").models == ()


@pytest.mark.parametrize("name", sorted(STARTER_PLANS))
def test_a_starter_plan_survives_being_written_and_read(name: str) -> None:
    """`twohop init` writes them as documents."""
    plan = STARTER_PLANS[name]

    assert parse(Plan, msgspec.to_builtins(plan), f"plans/{name}") == plan
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


def test_the_starter_configuration_survives_too_and_names_plans_that_exist() -> None:
    """A newcomer's first call finds its plan."""
    assert parse(GateConfig, CONFIG, "gate/config") == STARTER_CONFIG
    assert set(STARTER_CONFIG.plans.values()) <= set(STARTER_PLANS)


def test_an_override_replaces_one_limit_of_one_user() -> None:
    """And leaves the others as the plan says."""
    assert with_overrides(GENEROUS, {"requests_per_day": 7}, "users/alice") == make_plan(requests_per_day=7)


def test_no_override_is_the_plan_itself() -> None:
    """The common case costs nothing."""
    assert with_overrides(GENEROUS, {}, "users/alice") is GENEROUS


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"requests_per_dya": 7}, id="misspelt"),
        pytest.param({"requests_per_day": 7.0}, id="float"),
        pytest.param({"requests_per_day": -7}, id="negative"),
        pytest.param({"models": "all"}, id="wrong-type"),
    ],
)
def test_a_malformed_override_is_refused_and_named(overrides: dict[str, Any]) -> None:
    """The operator reads where to look."""
    with pytest.raises(PolicyError, match="users/alice"):
        with_overrides(GENEROUS, overrides, "users/alice")


@given(st.integers(1, 600_000))
def test_the_time_between_two_requests_never_makes_the_rate_too_high(per_minute: int) -> None:
    """Rounded up: so many of them fill a minute, or more."""
    plan = make_plan(requests_per_minute=per_minute)

    assert plan.emission_us * per_minute >= 60_000_000
    assert (plan.emission_us - 1) * per_minute < 60_000_000


@given(st.dictionaries(st.sampled_from(sorted(FREE)) | st.text(max_size=5), st.none() | st.integers() | st.text()))
def test_no_document_makes_reading_fail_otherwise(document: dict[str, Any]) -> None:
    """Whatever is in the console, the gate's own error comes of it."""
    with contextlib.suppress(PolicyError):
        parse(Plan, document, "plans/free")
