"""What the owner decides about one user."""

from __future__ import annotations

from gate.domain.plan import UserPolicy, parse
from tests.cli.conftest import Operator


def test_set_writes_what_the_gate_reads(anywhere: Operator) -> None:
    """The document passes the gate's own strict reader."""
    anywhere.types("plan set pro burst=9")
    result = anywhere.types("user set alice plan=pro disabled=true requests_per_day=500 models=a")

    policy = parse(UserPolicy, anywhere.stored("users/alice"), "users/alice")
    assert result.exit_code == 0
    assert policy == UserPolicy(plan="pro", disabled=True, overrides={"requests_per_day": 500, "models": ["a"]})


def test_default_takes_a_decision_back(anywhere: Operator) -> None:
    """And leaves the others."""
    anywhere.types("user set alice plan=free disabled=true requests_per_day=500 burst=9")
    anywhere.types("user set alice plan=default disabled=default requests_per_day=default")

    policy = parse(UserPolicy, anywhere.stored("users/alice"), "users/alice")
    assert policy == UserPolicy(overrides={"burst": 9})


def test_a_plan_that_does_not_exist_is_refused(operator: Operator) -> None:
    """The gate would refuse that user."""
    result = operator.types("user set alice plan=gold")

    assert result.exit_code == 2
    assert "plans/gold does not exist" in result.stderr
    assert operator.reads("user show alice") == {"uid": "alice", "malformed": []}


def test_force_gives_a_plan_that_does_not_exist_yet(operator: Operator) -> None:
    """For a script that makes users before plans."""
    assert operator.types("user set alice plan=gold --force").exit_code == 0

    assert operator.stored("users/alice")["plan"] == "gold"


def test_an_override_that_no_plan_may_have_is_not_written(operator: Operator) -> None:
    """It would refuse the user at the next request."""
    result = operator.types("user set alice burst=0")

    assert result.exit_code == 2
    assert "users/alice.overrides" in result.stderr


def test_a_malformed_user_is_shown_as_such_and_repaired_by_set(anywhere: Operator) -> None:
    """A limit that no plan has never held, so it goes."""
    anywhere.stores("users/alice", {"plan": "free", "paid": True, "overrides": {"bursts": 3, "burst": 4}})

    shown = anywhere.types("user show alice")
    repaired = anywhere.types("user set alice disabled=false")

    assert shown.exit_code == 1
    assert "paid is no field; overrides.bursts is no field" in shown.stderr
    assert "was malformed and is repaired" in repaired.stderr
    assert anywhere.stored("users/alice") == {"plan": "free", "disabled": False, "overrides": {"burst": 4}}


def test_a_disabled_that_is_no_boolean_is_not_taken_for_false(operator: Operator) -> None:
    """Repairing something else must not let a user in."""
    operator.stores("users/alice", {"disabled": "yes"})

    result = operator.types("user set alice burst=4")

    assert result.exit_code == 2
    assert operator.stored("users/alice") == {"disabled": "yes"}


def test_set_shows_what_it_was(operator: Operator) -> None:
    """Old and new in one line."""
    operator.types("user set alice requests_per_day=500")

    shown = operator.types("user set alice requests_per_day=default disabled=true").stdout

    assert ["requests_per_day", "the", "plan's", "was", "500"] in [line.split() for line in shown.splitlines()]
    assert ["disabled", "true", "was", "false"] in [line.split() for line in shown.splitlines()]
