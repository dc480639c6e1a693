"""Plans are shown as they are, and never written malformed."""

from __future__ import annotations

from gate.domain.plan import STARTER_PLANS
from tests.cli.conftest import Operator
from twohop.documents import as_document

FREE = as_document(STARTER_PLANS["free"])


def test_set_changes_what_is_typed_and_nothing_else(anywhere: Operator) -> None:
    """On either ledger."""
    result = anywhere.types("plan set free requests_per_day=1_000 models=a,b")

    assert result.exit_code == 0
    assert anywhere.stored("plans/free") == {**FREE, "requests_per_day": 1000, "models": ["a", "b"]}


def test_set_shows_what_it_was(operator: Operator) -> None:
    """Old and new stand in one line; what did not change says nothing."""
    lines = operator.types("plan set free requests_per_day=1000").stdout.splitlines()

    assert [line.split() for line in lines if "was" in line] == [["requests_per_day", "1,000", "was", "200"]]


def test_a_new_plan_begins_as_the_starter_and_says_so(anywhere: Operator) -> None:
    """There is no default for a limit, so what was not typed is told."""
    result = anywhere.types("plan set pro concurrency=10")

    assert 'plans/pro is new; what you did not say is as in the starter plan "free"' in result.stderr
    assert anywhere.stored("plans/pro") == {**FREE, "concurrency": 10}


def test_a_value_that_a_plan_may_not_have_is_not_written(anywhere: Operator) -> None:
    """The strict reader has the last word before the ledger does."""
    result = anywhere.types("plan set free burst=0")

    assert result.exit_code == 2
    assert anywhere.stored("plans/free") == FREE


def test_a_malformed_plan_is_marked_with_every_reason(anywhere: Operator) -> None:
    """The list shows the good ones all the same."""
    anywhere.stores("plans/pro", {**FREE, "burst": "5", "bursts": 5})

    result = anywhere.types("plan list")

    assert result.exit_code == 0
    assert "plans/pro is malformed: bursts is no field; burst: Expected `int`, got `str`" in result.stderr
    assert "malformed" in result.stdout
    assert "free" in result.stdout


def test_a_malformed_plan_is_repaired_by_set(anywhere: Operator) -> None:
    """What was wrong with it is told; a field that no plan has is gone."""
    anywhere.stores("plans/pro", {**FREE, "burst": "5", "bursts": 5})

    result = anywhere.types("plan set pro burst=7")

    assert result.exit_code == 0
    assert "plans/pro was malformed and is repaired: bursts is no field; burst" in result.stderr
    assert anywhere.stored("plans/pro") == {**FREE, "burst": 7}


def test_set_does_not_guess_a_malformed_field(operator: Operator) -> None:
    """A limit that was lost is for the owner to say."""
    malformed = {name: value for name, value in FREE.items() if name != "concurrency"}
    operator.stores("plans/pro", malformed)

    result = operator.types("plan set pro burst=7")

    assert result.exit_code == 2
    assert "concurrency is missing" in result.stderr
    assert operator.stored("plans/pro") == malformed


def test_list_says_which_kind_of_caller_gets_which_plan(operator: Operator) -> None:
    """As gate/config says."""
    lines = operator.types("plan list").stdout.splitlines()

    assert ["free", "verified"] in [line.split()[:2] for line in lines]


def test_json_tells_good_plans_from_malformed_ones(anywhere: Operator) -> None:
    """A program sees the document as it is, and what is wrong with it."""
    anywhere.stores("plans/pro", {"burst": 5})

    plans = anywhere.reads("plan list")

    assert plans["free"] == {"name": "free", "malformed": [], **FREE}
    assert "concurrency is missing" in plans["pro"]["malformed"]
    assert anywhere.reads("plan show free") == plans["free"]
