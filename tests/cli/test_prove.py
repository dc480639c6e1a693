"""`twohop prove`, as it is read on a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cli.conftest import Operator
from tests.emulators import firestore_emulator
from twohop.cloud.faults import CloudFaults
from twohop.commands import prove
from twohop.prove.case import Case
from twohop.prove.faults import LedgerFaults
from twohop.prove.outcome import Outcome


def test_the_table_fits_80_columns_and_cuts_no_number(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that is cut short proves nothing."""
    pair = Case(name="ledger answers lost + results forgotten")
    monkeypatch.setattr(prove, "NOTHING", pair)
    monkeypatch.setattr(prove, "SINGLE", [])

    result = operator.types("prove --callers 10 --processes 1 --no-kills")

    assert result.exit_code == 0, result.output
    assert "…" not in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_what_did_not_hold_is_told_and_is_an_error(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that runs it must stop."""
    run = prove._outcome

    def broken(*given: object) -> Outcome:
        return replace(run(*given), holds_left=1)  # type: ignore[arg-type]

    monkeypatch.setattr(prove, "SINGLE", [])
    monkeypatch.setattr(prove, "_outcome", broken)

    result = operator.types("prove --callers 5 --processes 1 --no-kills")

    assert result.exit_code == 1
    assert "nothing goes wrong: " in result.stderr
    assert " no" in result.stdout


def test_the_same_seed_is_the_same_table_in_any_process(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what was seen once can be looked at again."""
    case = Case(name="all", ledger=LedgerFaults(slow=0.1), cloud=CloudFaults(usage_missing=0.9))
    monkeypatch.setattr(prove, "NOTHING", case)
    monkeypatch.setattr(prove, "SINGLE", [])

    here = operator.types("prove --callers 20 --shards 3 --seed 5 --processes 1 --no-kills")
    elsewhere = operator.types("prove --callers 20 --shards 3 --seed 5 --processes 2 --no-kills")

    assert here.exit_code == 0, here.output
    assert here.stdout == elsewhere.stdout


def test_minutes_go_on_with_further_seeds_and_say_which(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure of the night is repeated in the morning by its seed."""
    run, seeds = prove._outcome, list[int]()

    def noted(how: prove._Run, case: Case, seed: int) -> Outcome:
        seeds.append(seed)
        return replace(run(how, case, seed), holds_left=int(seed == 8))

    moments = iter(range(100))
    monkeypatch.setattr(prove, "SINGLE", [])
    monkeypatch.setattr(prove, "_outcome", noted)
    monkeypatch.setattr(prove, "_now", lambda: 60.0 * next(moments))

    result = operator.types("prove --callers 5 --seed 7 --minutes 2 --processes 1 --no-kills")

    assert seeds == [7, 8]
    assert "seed 8: nothing goes wrong: a hold was left behind" in result.stderr
    assert "\nseed 8\n" in result.stdout


@pytest.mark.parametrize("only", ["flood", "killed-before-lunch"])
def test_a_name_that_is_nobodys_is_an_error(only: str, operator: Operator) -> None:
    """An empty table proves nothing."""
    result = operator.types(f"prove --callers 5 --only {only}")

    assert result.exit_code != 0
    assert only in result.output


def test_firestore_without_its_emulator_says_what_to_set(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than ask Google."""
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)

    result = operator.types("prove --ledger firestore")

    assert result.exit_code != 0
    assert "FIRESTORE_EMULATOR_HOST" in result.output


def test_it_runs_on_the_firestore_emulator(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a job is a commit to hold it, a commit to settle it, and no read in between, as the wire has it."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())
    monkeypatch.setattr(prove, "NOTHING", Case(name="each pays its hold", cloud=CloudFaults(usage_missing=1.0)))
    monkeypatch.setattr(prove, "SINGLE", [])

    result = operator.types("prove --ledger firestore --callers 6 --shards 2 --processes 1 --no-kills")

    assert result.exit_code == 0, result.output
    assert "1+1+0+" in result.stdout
