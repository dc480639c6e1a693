"""`twohop prove`, as it is read on a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cli.conftest import Operator
from twohop.commands import prove
from twohop.prove.drive import Case, Outcome


def test_the_table_fits_80_columns_and_cuts_no_number(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that is cut short proves nothing."""
    pair = Case(name="ledger fails after writing + results forgotten")
    monkeypatch.setattr(prove, "SINGLE", [pair])

    result = operator.types("prove --callers 10")

    assert result.exit_code == 0, result.output
    assert "…" not in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_what_did_not_hold_is_told_and_is_an_error(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that runs it must stop."""
    run = prove._run

    def broken(*given: object) -> Outcome:
        return replace(run(*given), holds_left=1)  # type: ignore[arg-type]

    monkeypatch.setattr(prove, "SINGLE", [])
    monkeypatch.setattr(prove, "_run", broken)

    result = operator.types("prove --callers 5")

    assert result.exit_code == 1
    assert "nothing goes wrong: " in result.stderr
    assert " no" in result.stdout
