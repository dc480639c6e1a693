"""Which ledger is meant is never a guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.settings import LedgerKind
from tests.cli.conftest import DEV_LEDGER, Operator
from twohop.configured import ConfiguredLedger, LedgerOptions, configured_ledger, read_env_file
from twohop.errors import BadInputError

NOTHING = LedgerOptions()


def configured(folder: Path, options: LedgerOptions = NOTHING, **env: str) -> ConfiguredLedger:
    return configured_ledger(options, env=env, folder=folder)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


@pytest.fixture
def furnished(folder: Path) -> Path:
    """A folder in which every file speaks of a ledger."""
    write(folder / "functions/.env", "LEDGER=firestore\nGCLOUD_PROJECT=from-file\n")
    write(folder / DEV_LEDGER, "")
    write(folder / ".firebaserc", '{"projects": {"default": "from-firebaserc"}}')
    return folder


def test_what_is_typed_wins_over_everything(furnished: Path) -> None:
    """A project that is typed is the project that is changed."""
    found = configured(furnished, LedgerOptions(project="typed"), GCLOUD_PROJECT="from-env")

    assert (found.kind, found.project) == (LedgerKind.FIRESTORE, "typed")


def test_a_typed_path_wins_over_a_project_in_the_environment(furnished: Path) -> None:
    """Cloud Shell names a project to every program."""
    found = configured(furnished, LedgerOptions(sqlite_path="mine.sqlite3"), GCLOUD_PROJECT="from-env")

    assert (found.kind, found.sqlite_path) == (LedgerKind.SQLITE, "mine.sqlite3")


def test_the_environment_wins_over_files(furnished: Path) -> None:
    """As it does for a deployed function."""
    assert configured(furnished, GCLOUD_PROJECT="from-env").project == "from-env"


def test_the_functions_own_settings_win_over_the_dev_ledger(furnished: Path) -> None:
    """They are what will be deployed from here."""
    assert configured(furnished).project == "from-file"


def test_the_dev_ledger_is_taken_where_nothing_else_is_said(furnished: Path) -> None:
    """After `make dev`, commands without options speak of what it did."""
    write(furnished / "functions/.env", "HARDWARE=runpod/AMPERE_16\n")

    assert configured(furnished).sqlite_path == DEV_LEDGER


def test_the_project_that_would_be_deployed_to_comes_last(furnished: Path) -> None:
    """The Firebase tools refuse GCLOUD_PROJECT in functions/.env, so .firebaserc is where a project is named."""
    (furnished / "functions/.env").unlink()
    (furnished / DEV_LEDGER).unlink()

    assert configured(furnished).project == "from-firebaserc"


def test_a_demo_project_exists_on_an_emulator_only(folder: Path) -> None:
    """Google would ask who we are to a project that cannot exist."""
    write(folder / ".firebaserc", '{"projects": {"default": "demo-here"}}')

    with pytest.raises(BadInputError):
        configured(folder)
    assert configured(folder, FIRESTORE_EMULATOR_HOST="127.0.0.1:8080").project == "demo-here"


@pytest.mark.parametrize(
    ("options", "env"),
    [
        pytest.param(NOTHING, {}, id="nothing"),
        pytest.param(LedgerOptions(kind="firestore"), {}, id="no-project"),
        pytest.param(LedgerOptions(project="p", sqlite_path="s"), {}, id="both"),
        pytest.param(NOTHING, {"LEDGER": "postgres"}, id="unknown-kind"),
    ],
)
def test_doubt_is_an_error_and_no_guess(folder: Path, options: LedgerOptions, env: dict[str, str]) -> None:
    """A change that lands in the wrong ledger is worse than none."""
    with pytest.raises(BadInputError):
        configured(folder, options, **env)


def test_an_env_file_is_read_as_the_firebase_tools_read_it(folder: Path) -> None:
    """Quotes, comments, and `export` are not part of a value."""
    write(folder / ".env", "# one\nA=1\nexport B = 'two # 2'\nC=\"3\" # three\nD=4 # four\nE=\nnot a line\n")

    assert read_env_file(folder / ".env") == {"A": "1", "B": "two # 2", "C": "3", "D": "4", "E": ""}


def test_every_command_says_on_stderr_which_ledger_it_talks_to(operator: Operator) -> None:
    """So that stdout stays for the answer."""
    result = operator.types("plan list")

    assert result.stderr.splitlines()[0] == f"ledger: sqlite {DEV_LEDGER}"
    assert "ledger:" not in result.stdout


def test_a_mistyped_path_makes_no_empty_ledger(folder: Path, operator: Operator) -> None:
    """An empty ledger would say that nobody used anything."""
    result = operator.types("--sqlite-path nowhere.sqlite3 usage")

    assert result.exit_code == 2
    assert not (folder / "nowhere.sqlite3").exists()
