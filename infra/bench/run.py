"""How much is measured, and where things are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from infra.bench.gates import Gate
from infra.bench.standing import Cores

_Gate = TypeVar("_Gate")


def turns(gates: Sequence[_Gate], number: int) -> list[_Gate]:
    """Return the order of a round: each begins with another gate, so that none always follows the same one."""
    first = number % len(gates)
    return [*gates[first:], *gates[:first]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the benchmark."""

    folder: Path
    """Of environments, logs and what was found."""
    cores: Cores
    rounds: int
    scale: float
    """Of all durations; below one for a quick look."""
    day: str

    def seconds(self, full: float) -> float:
        """Return a duration; `wrk` takes whole seconds."""
        return max(2, round(full * self.scale))

    def work(self, part: str) -> Path:
        """Return a part's own folder."""
        return self.folder / "work" / part

    @property
    def findings(self) -> Path:
        """Where what was found is kept."""
        return self.folder / "findings"

    def home(self, gate: Gate) -> Path:
        """Return where a gate's programs are; the first time, its environment is made."""
        return gate.home(self.folder)
