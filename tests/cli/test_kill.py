"""What is switched off, by whom, and why."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Operator


def test_kill_and_revive_are_kept_with_name_and_reason(anywhere: Operator) -> None:
    """On either ledger; the level lies in gate/config, where every instance reads it."""
    up = anywhere.types("kill 4 --name Ann --reason flood")
    assert (up.exit_code, up.stderr.count("ledger: ")) == (0, 1)
    assert anywhere.stored("gate/config")["kill_level"] == 4
    anywhere.clock.advance(minutes=1)

    assert anywhere.types("revive --name Ben --reason over").exit_code == 0

    shown = anywhere.reads("kill")
    assert shown["level"] == 0
    assert [(one["after"], one["name"], one["reason"]) for one in shown["history"]] == [
        (0, "Ben", "over"),
        (4, "Ann", "flood"),
    ]


@pytest.mark.parametrize("line", ["kill 2", "kill 7 --reason x", "revive 3 --reason x", "revive"])
def test_what_cannot_be_is_an_error_that_says_what_to_do(operator: Operator, line: str) -> None:
    """No level without a reason, none that there is not, and none up by the command that goes down."""
    result = operator.types(line)

    assert result.exit_code == 2
    assert operator.reads("kill")["level"] == 0


def test_kill_does_not_go_down(operator: Operator) -> None:
    """Going down is another command, so that nobody does it by a slip."""
    operator.types("kill 5 --name Ann --reason stop")

    assert "revive 2" in operator.types("kill 2 --name Ann --reason less").stderr
    assert operator.reads("kill")["level"] == 5
    assert "not stopped yet" in operator.types("kill").stderr
