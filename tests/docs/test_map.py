"""The map in docs/design.md is the folders as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def drawn() -> set[str]:
    """Return the path of each file and folder that the map names."""
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    lines = page.partition("## Which file may know which\n")[2].partition("\nEach arrow")[0].splitlines()
    paths: set[str] = set()
    folders: list[tuple[int, str]] = []
    for line in filter(None, lines):
        depth = len(line) - len(line.lstrip())
        folders = [(above, folder) for above, folder in folders if above < depth]
        inside = folders[-1][1] if folders else ""
        named = [inside + name for name in re.match(r"(\S+(\.py|/)\s+)*", line.strip() + " ")[0].split()]  # type: ignore[index]
        paths |= {path.rstrip("/") for path in named}
        folders += [(depth, path) for path in named if path.endswith("/")]
    return paths


def test_what_the_map_names_is_there() -> None:
    assert [path for path in sorted(drawn()) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("folder", ["functions/gate", "functions/gate/steps", "functions/gate/domain"])
def test_what_is_drawn_file_by_file_is_drawn_whole(folder: str) -> None:
    """Of other folders the map says what they are for, and their listing says the rest."""
    there = {path.name for path in (ROOT / folder).iterdir() if path.name[0] not in "_."}

    assert {f"{folder}/{name}" for name in there} - drawn() == set()


@pytest.mark.parametrize("folder", ["gpu_worker/worker"])
def test_every_folder_of_the_worker_is_on_the_map(folder: str) -> None:
    there = {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*") if path.is_dir()}

    assert {path for path in there if "__pycache__" not in path} - drawn() == set()
