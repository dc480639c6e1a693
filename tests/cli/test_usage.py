"""Who used what: the counters as the gate moved them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from gate.domain.job import JobState, Settlement
from gate.money import Spent
from tests.cli.conftest import Operator, job_of
from tests.makers import NOON, make_config, make_plan

UID = "Xq3vT9fKpLZ0aWmB7uYc2RdEhJk1"
SETTLED = Settlement(state=JobState.SETTLED, microdollars=1_234, gpu_ms=1_500, spent=Spent(execution_ms=1_500))
TODAY = {"requests": 2, "gpu_seconds": 61.5, "microdollars": 11_234}


def use(operator: Operator) -> Operator:
    """Make a caller with a job in flight, one of today and one of yesterday."""
    operator.holds(job_of(UID, held_at=NOON - timedelta(days=1)), SETTLED)
    operator.holds(job_of(UID), SETTLED)
    operator.holds(job_of(UID))
    return operator


@pytest.fixture
def used(anywhere: Operator) -> Operator:
    """Use on either ledger."""
    return use(anywhere)


def limits(shown: dict[str, Any]) -> dict[str, tuple[int | None, int, int]]:
    return {one["name"]: (one["used"], one["limit"], one["remaining"]) for one in shown["limits"]}


def test_a_line_a_caller_tells_today_from_the_month(used: Operator) -> None:
    """What is in flight counts with its hold."""
    used.holds(job_of("bob"), Settlement.release("not reached"))

    shown = used.reads("usage")

    month = {"requests": 3, "gpu_seconds": 63.0, "microdollars": 12_468}
    assert shown[0] == {"caller": UID, "in_flight": 1, "today": TODAY, "month": month}
    assert [one["caller"] for one in shown] == [UID, "bob"]


def test_a_newcomer_is_shown_with_the_plan_of_newcomers(anywhere: Operator) -> None:
    """As the gate would find them now, and not as their last job was counted."""
    anywhere.stores("plans/trial", msgspec.to_builtins(make_plan(requests_per_day=7)))
    anywhere.stores("gate/config", msgspec.to_builtins(make_config(plans={"verified": "free", "new": "trial"})))
    anywhere.holds(job_of(UID))

    shown = anywhere.reads(f"usage {UID}")

    assert (shown["cohort"], shown["plan"]) == ("new", "trial")
    assert limits(shown)["requests_per_day"][1] == 7


def test_each_limit_says_what_is_left_as_the_gate_counts(used: Operator) -> None:
    """By the same functions that decide about the next request; a burst of 5 is what is free of a rate."""
    shown = used.reads(f"usage {UID}")

    assert shown["plan"] == "free"
    assert limits(shown) == {
        "requests_per_minute": (None, 20, 4),
        "concurrency": (1, 2, 1),
        "requests_per_day": (2, 200, 198),
        "gpu_seconds_per_day": (62, 3600, 3538),
        "microdollars_per_day": (11_234, 250_000, 238_766),
        "requests_per_month": (3, 2000, 1997),
        "microdollars_per_month": (12_468, 2_500_000, 2_487_532),
    }
    assert list(shown["days"]) == ["2026-11-21", "2026-11-20"]


def test_limits_are_those_of_the_users_own_plan(used: Operator) -> None:
    """Overrides included."""
    used.types("plan set pro concurrency=7")
    used.types(f"user set {UID} plan=pro requests_per_day=9")

    shown = used.reads(f"usage {UID}")

    assert shown["plan"] == "pro"
    assert limits(shown)["concurrency"] == (1, 7, 6)
    assert limits(shown)["requests_per_day"] == (2, 9, 7)


def test_an_anonymous_caller_has_the_plan_of_their_kind(operator: Operator) -> None:
    """Only a token says of which kind a caller is, so their last job is asked."""
    operator.holds(job_of("guest", cohort="anonymous"), SETTLED)

    assert operator.reads("usage guest")["plan"] == "anonymous"


def test_a_disabled_user_is_shown_as_refused_with_what_they_used(used: Operator) -> None:
    """Disabling somebody is when one looks."""
    used.types(f"user set {UID} disabled=true")

    result = used.types(f"usage {UID}")

    assert result.exit_code == 0
    assert f"refused: user {UID} is disabled" in result.stdout
    assert "today" in result.stdout


def test_every_uid_is_whole_in_80_columns(operator: Operator) -> None:
    """A Firebase uid has 28 characters, and it is what one copies into the next command."""
    lines = use(operator).types("usage").stdout.splitlines()

    assert any(UID in line for line in lines)
    assert max(len(line) for line in lines) <= 80


@pytest.mark.parametrize("line", ["usage", f"usage {UID}", "jobs", f"jobs {UID}", "budget show", "plan list"])
def test_no_terminal_means_no_colour_and_80_columns(operator: Operator, line: str) -> None:
    """What is piped into a file is plain text."""
    result = use(operator).types(line)

    assert result.exit_code == 0, result.stderr
    assert "\x1b" not in result.output
    assert max(len(text) for text in result.stdout.splitlines()) <= 80


def test_nobody_is_said_in_words(operator: Operator) -> None:
    """An empty table would look like a fault."""
    assert "nobody has used anything yet" in operator.types("usage").stderr
    assert operator.reads("usage") == []
