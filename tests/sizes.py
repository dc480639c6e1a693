"""Holds files and functions to the sizes that the code is written in: small enough to be read at one sitting."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (
    "functions/gate",
    "functions/main.py",
    "functions/declared.py",
    "gpu_worker",
    "twohop",
    "infra",
    "clients/python",
)
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50


def main() -> int:
    """Print what is too long, and return how many."""
    complaints = [complaint for path in _sources() for complaint in _complaints(path)]
    for complaint in complaints:
        print(complaint)  # noqa: T201 - a command's output
    return len(complaints)


def _sources() -> Iterator[Path]:
    for name in FOLDERS:
        place = ROOT / name
        yield from sorted(place.rglob("*.py")) if place.is_dir() else [place]


def _complaints(path: Path) -> Iterator[str]:
    text = path.read_text("utf-8")
    name = path.relative_to(ROOT)
    lines = text.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{name}: {lines} lines, at most {FILE_LINES_MAX}; split it by its nouns"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield f"{name}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES_MAX}"


if __name__ == "__main__":
    sys.exit(bool(main()))
