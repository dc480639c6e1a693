"""The benchmark's bill is `twohop cost`'s, told what the other parts measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.live import BenchError
from infra.bench import cost
from infra.bench.findings import Finding, keep
from infra.bench.run import Run
from infra.bench.standing import Cores


def run(folder: Path, **found: dict[str, float]) -> Run:
    made = Run(folder=folder, cores=Cores(gate=None, rest=None), rounds=1, scale=1, day="2026-11-25")
    for part, facts in found.items():
        keep(Finding(part=part, title="", day=made.day, text="", goals=[], facts=facts), made.findings)
    return made


def test_more_cpu_makes_a_dearer_million(tmp_path: Path) -> None:
    """What was measured is what is priced."""
    operations = {"writes": 6.0, "reads": 0.0}
    quick, slow = (
        cost.measure(run(tmp_path, throughput={"cpu_ms": cpu_ms}, operations=operations)) for cpu_ms in (1.0, 250.0)
    )

    assert "| Firestore writes | $5.77 | $4.87 |" in quick.text
    assert (quick.goals[0].met, slow.goals[0].met) == (True, False)


def test_operations_that_the_forecast_does_not_count_are_an_error(tmp_path: Path) -> None:
    """Or the forecast would be too low, and nobody would notice."""
    with pytest.raises(BenchError, match="8 writes; twohop cost counts 6"):
        cost.measure(run(tmp_path, throughput={"cpu_ms": 1.0}, operations={"writes": 8.0, "reads": 0.0}))


def test_what_it_reckons_with_is_measured_first(tmp_path: Path) -> None:
    """No number is made up."""
    with pytest.raises(BenchError, match="run the parts throughput and operations first"):
        cost.measure(run(tmp_path))
