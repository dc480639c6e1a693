"""Which ledger is meant: what is typed wins, then the environment, then the files of the folder we stand in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.settings import LedgerKind
from twohop.errors import BadInputError

DEV_LEDGER = ".twohop/ledger.sqlite3"
DEV_PROJECT = "demo-twohop"
"""What `twohop dev` calls itself."""
TOKEN_SECRET_FILE = "token_secret"  # noqa: S105 - a file's name
"""Beside the dev ledger."""
_PROJECT_NAMES = ("GCLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT")
_ENV_LINE = re.compile(r"^\s*(?:export\s+)?(\w+)\s*=\s*(.*?)\s*$")

_NONE_CONFIGURED = (
    "no ledger is configured: use --project ID for Firestore, or --sqlite-path PATH, or stand in the folder in which "
    "`make dev` runs"
)
_NO_PROJECT = "the ledger is Firestore and no project is named: use --project ID, or set GCLOUD_PROJECT"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerOptions:
    """What was typed about the ledger; None where nothing was."""

    kind: str | None = None
    project: str | None = None
    sqlite_path: str | None = None

    def as_environment(self) -> dict[str, str]:
        """Return the options as the variables that would say the same."""
        said = {"LEDGER": self.kind, "GCLOUD_PROJECT": self.project, "SQLITE_PATH": self.sqlite_path}
        return {name: value for name, value in said.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredLedger:
    """One ledger, as `gate.parts.open_store` wants it named."""

    kind: LedgerKind
    project: str = ""
    sqlite_path: str = ""
    emulator: str = ""
    """`host:port` of the Firestore emulator, which the SDK uses by itself when the environment names one."""

    def __str__(self) -> str:
        if self.kind is LedgerKind.SQLITE:
            return f"sqlite {self.sqlite_path}"
        return f"firestore project {self.project}" + (f" on the emulator at {self.emulator}" if self.emulator else "")


def configured_ledger(options: LedgerOptions, *, env: Mapping[str, str], folder: Path) -> ConfiguredLedger:
    """Return the ledger that is meant.

    Raises:
        BadInputError: nothing says which, or it is not said completely.
    """
    sources = [options.as_environment(), env, read_env_file(folder / "functions" / ".env")]
    emulator = env.get("FIRESTORE_EMULATOR_HOST", "")
    default_project = _default_project(folder / ".firebaserc", emulator=bool(emulator))
    kind = next((kind for source in sources if (kind := _kind(source))), None) or _found_kind(folder, default_project)
    if kind is LedgerKind.SQLITE:
        return ConfiguredLedger(kind=kind, sqlite_path=_first(sources, "SQLITE_PATH") or DEV_LEDGER)
    project = _first(sources, *_PROJECT_NAMES) or default_project
    if not project:
        raise BadInputError(_NO_PROJECT)
    return ConfiguredLedger(kind=kind, project=project, emulator=emulator)


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of a file like `functions/.env`; none if there is no such file."""
    if not path.is_file():
        return {}
    lines = path.read_text("utf-8", "replace").splitlines()
    return {match[1]: _unquoted(match[2]) for line in lines if (match := _ENV_LINE.match(line))}


def _kind(source: Mapping[str, str]) -> LedgerKind | None:
    """Return the kind of ledger that one source decides for, if it does."""
    said = source.get("LEDGER", "").strip()
    if said:
        if said not in list(LedgerKind):
            raise BadInputError(f"LEDGER={said!r} is not one of: {', '.join(LedgerKind)}")
        return LedgerKind(said)
    has_project = any(source.get(name) for name in _PROJECT_NAMES)
    if has_project and source.get("SQLITE_PATH"):
        raise BadInputError("both a project and a SQLite path are named; say which: --ledger firestore or sqlite")
    if has_project:
        return LedgerKind.FIRESTORE
    return LedgerKind.SQLITE if source.get("SQLITE_PATH") else None


def _found_kind(folder: Path, default_project: str) -> LedgerKind:
    """Return the kind of ledger that the folder speaks of, when nobody said anything."""
    if (folder / DEV_LEDGER).exists():
        return LedgerKind.SQLITE
    if default_project:
        return LedgerKind.FIRESTORE
    raise BadInputError(_NONE_CONFIGURED)


def _default_project(path: Path, *, emulator: bool) -> str:
    """Return the project that `firebase deploy` would use. A `demo-` project exists on an emulator only."""
    try:
        project = json.loads(path.read_text("utf-8"))["projects"]["default"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    usable = isinstance(project, str) and (emulator or not project.startswith("demo-"))
    return project if usable else ""


def _first(sources: list[Mapping[str, str]], *names: str) -> str:
    return next((value for source in sources for name in names if (value := source.get(name, "").strip())), "")


def _unquoted(value: str) -> str:
    if value[:1] in ("'", '"') and value[0] in value[1:]:
        return value[1 : value.index(value[0], 1)]
    return value.partition(" #")[0].strip()
