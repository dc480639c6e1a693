"""`twohop export focus`, judged by the FinOps Foundation's own validator."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from gate.domain import overhead
from gate.domain.job import JobState, Settlement
from gate.money import MICRODOLLARS_PER_DOLLAR, Spent
from tests.cli.conftest import Operator, job_of
from tests.makers import NOON
from tests.missing import missing

VALIDATOR = Path(__file__).parents[2] / ".focus" / "bin" / "focus-validator"
"""In an environment of its own: it needs an older numpy than the worker does. `make test` makes it."""


def fill(operator: Operator, *, jobs: int = 7) -> None:
    """Jobs that ran, six over three hours, and one that never did."""
    for number in range(jobs):
        spent = Spent(execution_ms=1_000 * number, start_ms=500, idle_ms=5_000)
        settlement = Settlement(state=JobState.SETTLED, microdollars=9_000 + number, gpu_ms=9_000, spent=spent)
        held_at = NOON - timedelta(minutes=25 * (7 - number))
        operator.holds(job_of("alice", held_at=held_at), settlement if number else Settlement.release("never ran"))


def test_the_rows_add_up_to_the_ledger(anywhere: Operator) -> None:
    """To the micro-dollar, and a job that was released is in none of them."""
    fill(anywhere)

    rows = list(csv.DictReader(io.StringIO(anywhere.types("export focus").stdout)))

    assert sum(Decimal(row["BilledCost"]) for row in rows) * MICRODOLLARS_PER_DOLLAR == 6 * 9_000 + 21
    assert [row["ChargePeriodStart"][11:13] for row in rows] == ["09", "10", "11"]
    assert sum(int(json.loads(row["Tags"])["useful_ms"]) for row in rows) == 21_000


def count_overhead(operator: Operator, microdollars: int, *, at: datetime) -> None:
    """Count it as the hourly reconciliation does."""
    count = partial(overhead.moves_to_count, microdollars, at=at)
    operator.in_ledger(lambda store: store.rebalance("budget/", count))


def judged(rows: str, folder: Path) -> str:
    """Return what the FinOps Foundation's validator says of rows."""
    if not VALIDATOR.exists():
        missing("focus-validator is not installed", "`make .focus/.installed` makes an environment for it")
    file = folder / "focus.csv"
    file.write_text(rows, "utf-8")
    [packages] = VALIDATOR.parents[1].glob("lib/python*/site-packages")
    command = [str(VALIDATOR), "--data-file", str(file), "--validate-version", "1.0"]
    # It reads its list of currencies from a path relative to where it is installed.
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, cwd=packages).stdout


@pytest.mark.parametrize("jobs", [2, 5, 7], ids=["one-row", "two-rows", "three-rows"])
def test_the_finops_foundations_validator_accepts_them(operator: Operator, tmp_path: Path, jobs: int) -> None:
    """The format is theirs, and so is the judgement; it once took files of three rows alone."""
    fill(operator, jobs=jobs)

    assert "Validation succeeded." in judged(operator.types("export focus").stdout, tmp_path)


def test_overhead_is_a_row_of_its_day(operator: Operator, tmp_path: Path) -> None:
    """Shown apart, and what the budget counts is what the rows add up to."""
    fill(operator)
    for day, microdollars in ((NOON, 250), (NOON - timedelta(days=2), 70)):
        count_overhead(operator, microdollars, at=day)

    text = operator.types("export focus").stdout

    rows = [row for row in csv.DictReader(io.StringIO(text)) if row["ChargeCategory"] == "Adjustment"]
    assert [(row["ChargePeriodStart"], row["BilledCost"]) for row in rows] == [
        ("2026-11-19T00:00:00Z", "0.000070"),
        ("2026-11-21T00:00:00Z", "0.000250"),
    ]
    assert "Validation succeeded." in judged(text, tmp_path)


def test_the_validator_refuses_what_is_no_focus(operator: Operator, tmp_path: Path) -> None:
    """So that the test above can fail."""
    fill(operator)
    rows = operator.types("export focus").stdout.replace("Usage-Based", "Sometimes")

    assert "Validation failed!" in judged(rows, tmp_path)


def test_a_span_that_ends_before_it_begins_is_refused(operator: Operator) -> None:
    result = operator.types("export focus --since 2026-11-21 --until 2026-11-20")

    assert result.exit_code != 0
    assert "--since 2026-11-21 is not before --until 2026-11-20" in result.stderr
