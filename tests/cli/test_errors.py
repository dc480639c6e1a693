"""Every error is one line that says what to do, and never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from gate.errors import LedgerError
from gate.ledgers.firestore import FirestoreLedger
from tests.cli.conftest import DEV_LEDGER, Operator


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param("plan", "", id="no-subcommand"),
        pytest.param("plan show", "NAME", id="missing-argument"),
        pytest.param("plan list --bogus", "--bogus", id="unknown-option"),
        pytest.param("nonsense", "nonsense", id="unknown-command"),
        pytest.param("plan set Free burst=1", "'Free'", id="plan-name"),
        pytest.param("plan set free", "FIELD=VALUE", id="no-change"),
        pytest.param("plan set free burst", "'burst' is not FIELD=VALUE", id="no-pair"),
        pytest.param("plan set free bursts=3", "requests_per_day", id="unknown-field-lists-the-fields"),
        pytest.param("plan set free burst=3 burst=4", "twice", id="twice"),
        pytest.param("plan set free burst=-3", "burst", id="negative"),
        pytest.param("plan set free burst=3.5", "whole number", id="fraction"),
        pytest.param("plan set free burst=0", "burst", id="out-of-range"),
        pytest.param("user show a/b", "slash", id="slash"),
        pytest.param("user set .. disabled=true", "'..'", id="dots"),
        pytest.param("usage a/b", "slash", id="slash-in-usage"),
        pytest.param("jobs a/b", "slash", id="slash-in-jobs"),
        pytest.param("user set alice disabled=yes", "true nor false", id="not-a-boolean"),
        pytest.param("budget set day=1.0000001", "6 decimals", id="finer-than-a-micro-dollar"),
        pytest.param("budget set day=1e3", "dollars", id="not-an-amount"),
        pytest.param("budget set shards=0", "budget_shards", id="no-shards"),
        pytest.param("budget set week=3", "hour, day, month, shards", id="unknown-period"),
        pytest.param("jobs --limit 0", "--limit", id="no-jobs"),
    ],
)
def test_bad_input_exits_with_2_and_names_it(operator: Operator, line: str, says: str) -> None:
    """2 is what shells and click use for it."""
    result = operator.types(line)

    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.parametrize(
    "line", ["plan show", "nonsense", "plan set free burst=0", "user show a/b", "plan show gone"]
)
def test_an_error_is_one_line(operator: Operator, line: str) -> None:
    """A log or a chat takes it whole."""
    errors = [line for line in operator.types(line).stderr.splitlines() if not line.startswith("ledger:")]

    assert len(errors) == 1
    assert errors[0].startswith("Error: ")


def test_what_is_not_there_exits_with_1_and_the_remedy(operator: Operator) -> None:
    """The input was fine; the world was not."""
    result = operator.types("plan show gone")

    assert result.exit_code == 1
    assert "twohop plan set gone" in result.stderr


def test_a_file_that_is_no_ledger_exits_with_1(folder: Path, operator: Operator) -> None:
    """SQLite's own exception stops at the adapter."""
    (folder / "notes.txt").write_text("not a database, but long enough to look like one at first sight\n" * 40)

    result = operator.types("--sqlite-path notes.txt usage")

    assert result.exit_code == 1
    assert "SQLite" in result.stderr


def test_missing_google_credentials_name_the_remedy(
    folder: Path, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first thing that goes wrong on a new machine."""
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(folder))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)

    result = operator.types("--project nobodys-project plan list")

    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "ledger: firestore project nobodys-project"
    assert "gcloud auth application-default login" in result.stderr


def test_an_emulator_that_is_gone_is_said_to_be(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable outlives the emulator in many a shell."""

    def gone(*_: object, **__: object) -> NoReturn:
        raise LedgerError("Firestore: RetryError: failed to connect to all addresses")

    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:9")
    monkeypatch.setattr(FirestoreLedger, "read", gone)

    result = operator.types("--project demo-gone plan list")

    assert result.exit_code == 1
    assert "unset FIRESTORE_EMULATOR_HOST" in result.stderr


@pytest.mark.parametrize("line", ["plan", "plan set", "user set", "budget set", "usage", "jobs", "init", "sweep"])
def test_every_help_fits_80_columns(operator: Operator, line: str) -> None:
    """Its examples, too."""
    result = operator.types(f"{line} --help")

    assert result.exit_code == 0
    assert max(len(text) for text in result.stdout.splitlines()) <= 80


def test_help_needs_no_ledger_and_fits_80_columns(folder: Path, operator: Operator) -> None:
    """It is what one types first, anywhere."""
    (folder / DEV_LEDGER).unlink()

    result = operator.types("--help")

    assert result.exit_code == 0
    assert "ledger:" not in result.stderr
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
