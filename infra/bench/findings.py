"""What a part of the benchmark found, kept as JSON, so that parts can be run one by one and told together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench.figures import Spread


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what is to be reached."""

    what: str
    goal: str
    measured: str
    met: bool


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar of the picture."""

    name: str
    value: float
    least: float
    most: float


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """All that one part found."""

    part: str
    title: str
    day: str
    text: str
    """Markdown, below the title."""
    goals: Sequence[Goal]
    bars: Sequence[Bar] = ()
    unit: str = ""
    """Of the bars."""
    versions: dict[str, dict[str, str]] = {}
    load: float = 0
    """Processes that wanted a core in the minute before it was measured."""
    python: str = ""
    """The interpreter of the gates in Python: parts that were measured one by one may have had others."""
    facts: dict[str, float] = {}
    """Numbers that other parts reckon with."""


def keep(finding: Finding, folder: Path) -> None:
    """Write a finding where `kept` finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{finding.part}.json").write_bytes(msgspec.json.format(msgspec.json.encode(finding)))


def kept(part: str, folder: Path) -> Finding | None:
    """Return what a part found last; None if it never ran."""
    path = folder / f"{part}.json"
    return msgspec.json.decode(path.read_bytes(), type=Finding) if path.exists() else None


def spread_text(values: Sequence[float], told: Callable[[float], str]) -> str:
    """Return `median (least to most)`."""
    spread = Spread.of(values)
    return f"{told(spread.median)} ({told(spread.least)} to {told(spread.most)})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bar(name: str, values: Sequence[float]) -> Bar:
    """Return the bar of some rounds."""
    spread = Spread.of(values)
    return Bar(name=name, value=spread.median, least=spread.least, most=spread.most)


def number(value: float) -> str:
    """Return a number to three digits or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(value: float) -> str:
    """Return a ratio."""
    return f"{value:.2f} x"
