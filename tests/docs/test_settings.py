"""docs/settings.md names every setting that the code reads, with its default, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOP_1 = tuple((ROOT / "functions" / "gate").rglob("*.py"))
WORKER = (*(ROOT / "gpu_worker" / "worker").rglob("*.py"), *(ROOT / "gpu_worker").glob("*r.py"))
READERS = {"text", "needed", "secret", "secrets", "words", "flag", "one_of", "number", "choice"}
"""The methods of hop 1's `Environment`, and the worker's functions, which have an underscore before it."""
BY_THE_PLATFORM = re.compile(
    r"(K|GCE|GCLOUD|GOOGLE_CLOUD|F\w+_EMULATOR|FUNCTIONS|RUNPOD_(WEBHOOK|POD|AI|PING))(_.+)?"
)
"""What Google's cloud, its emulators and RunPod set themselves."""
WITHOUT_DEFAULT = {"PULL_SECONDS"}
"""Read as a number only where it is given."""


def read_in(paths: Iterable[Path]) -> dict[str, str | None]:
    """Return the default of each variable that is read; None where it is not written out there."""
    calls = (node for path in paths for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    found: dict[str, str | None] = {}
    for call in calls:
        if isinstance(call, ast.Call) and (name := _variable(call)) and not BY_THE_PLATFORM.fullmatch(name):
            found[name] = found.get(name) or _default(call)
    return found


def _variable(call: ast.Call) -> str | None:
    *owner, reader = ast.unparse(call.func).rsplit(".", 1)
    is_reading = reader.lstrip("_") in READERS or (reader == "get" and owner in (["env"], ["os.environ"]))
    texts = [each.value for each in call.args if isinstance(each, ast.Constant)]
    name = str(texts[0]) if texts and is_reading else ""
    return name if re.fullmatch("[A-Z][A-Z0-9_]+", name) else None


def _default(call: ast.Call) -> str | None:
    reader = ast.unparse(call.func).rpartition(".")[2]
    if reader in ("flag", "needed"):
        return "false" if reader == "flag" else None
    last = call.args[-1]
    return str(last.value) if isinstance(last, ast.Constant) and len(call.args) > 1 else None


def documented(table: int) -> dict[str, str]:
    """Return the default of each setting that one of the page's two tables names."""
    page = (ROOT / "docs" / "settings.md").read_text("utf-8").split("\nThe worker (hop 2)")[table]
    found: dict[str, str] = {}
    for names, defaults in (row.split("|")[1:3] for row in page.splitlines() if row.startswith("| `")):
        settings = re.findall("`([A-Z0-9_]+)`", names)
        values = defaults.split(", ") if defaults.count(", ") == len(settings) - 1 else [""] * len(settings)
        found |= dict(zip(settings, (value.strip().strip("`").replace(" ", "") for value in values), strict=True))
    return found


def test_every_setting_of_hop_1_is_on_the_page_and_no_other() -> None:
    assert set(documented(0)) == set(read_in(HOP_1))


def test_every_setting_of_the_worker_is_on_the_page_and_no_other() -> None:
    assert set(documented(1)) == set(read_in(WORKER))


@pytest.mark.parametrize(("table", "paths"), [(0, HOP_1), (1, WORKER)], ids=["hop 1", "worker"])
def test_defaults_on_the_page_are_those_in_the_code(table: int, paths: Iterable[Path]) -> None:
    """Of those that are written out where they are read, as most are."""
    told = documented(table)
    read = {name: default for name, default in read_in(paths).items() if default and name not in WITHOUT_DEFAULT}

    assert len(read) >= 8
    assert {name: told[name] for name in read} == read
