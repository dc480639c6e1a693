"""What is wrong right now, as the operator reads it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.cli.conftest import Operator
from tests.makers import NOON

ROOT = Path(__file__).parents[2]


def alert(**changes: Any) -> dict[str, Any]:
    since = (NOON - timedelta(minutes=7)).isoformat()
    return {"state": "warned", "since": since, "text": "82 % is spent.", "number": 3, **changes}


def test_what_is_raised_is_shown_worst_first(anywhere: Operator) -> None:
    """And a script can ask by the exit status alone."""
    anywhere.stores("alerts/budget_day", alert())
    anywhere.stores("alerts/orphans", alert(state="critical", text="2 jobs are queued."))
    anywhere.stores("alerts/balance", alert(state="recovered"))

    result = anywhere.types("alerts")

    names = [line.split()[0] for line in result.stdout.splitlines()[2:] if line.strip()]
    assert [name for name in names if "_" in name or name == "orphans"] == ["orphans", "budget_day"]
    assert "7m" in result.stdout
    assert "balance" not in result.stdout
    assert result.exit_code == 1


def test_nothing_raised_is_said_and_is_no_error(anywhere: Operator) -> None:
    anywhere.stores("alerts/balance", alert(state="recovered"))
    anywhere.stores("gate/watch", {"at": (NOON - timedelta(minutes=3)).isoformat()})

    result = anywhere.types("alerts")

    assert result.exit_code == 0
    assert "no alert is raised" in result.stderr
    assert "the watchdog looked 3m ago" in result.stderr


def test_a_gate_that_nobody_watches_yet_is_told(operator: Operator) -> None:
    assert "the watchdog has not looked yet" in operator.types("alerts").stderr


def test_a_message_that_did_not_arrive_is_told(operator: Operator) -> None:
    operator.stores("alerts/budget_day", alert(untold=["webhook"]))

    assert "budget_day did not reach webhook yet" in operator.types("alerts").stderr


def test_a_program_reads_all_of_it(operator: Operator) -> None:
    operator.stores("alerts/budget_day", alert(facts={"spent_microdollars": 5}))

    assert operator.reads("alerts")["budget_day"]["facts"] == {"spent_microdollars": 5}


def test_the_log_lines_that_the_policies_wait_for_are_the_ones_that_are_written() -> None:
    """A renamed event would silence an alert policy without anybody noticing."""
    policies = [json.loads(path.read_text("utf-8")) for path in sorted((ROOT / "infra/monitoring").glob("*.json"))]
    waited_for = json.dumps(policies) + (ROOT / "docs/alerts.md").read_text("utf-8")
    written = "".join(path.read_text("utf-8") for path in (ROOT / "functions/gate/guard").glob("*.py"))

    for event in ("alert.changed", "watch.looked"):
        assert event in waited_for
        assert f'"{event}"' in written
