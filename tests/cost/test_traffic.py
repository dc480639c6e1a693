"""Traffic has the number, the mean, the variation and the rhythm that were asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from twohop.cost.scenario import Scenario, Shape
from twohop.cost.traffic import calls
from twohop.errors import BadInputError


@pytest.mark.parametrize("shape", list(Shape))
def test_a_month_has_exactly_its_calls(shape: Shape) -> None:
    """Ascending, within the month, of the mean time."""
    scenario = Scenario(calls_per_month=50_000, compute_seconds=3.0, shape=shape)

    arrivals, times = calls(scenario)

    assert len(arrivals) == len(times) == 50_000
    assert (np.diff(arrivals) >= 0).all()
    assert 0 <= arrivals[0] <= arrivals[-1] <= scenario.seconds
    assert times.mean() == pytest.approx(3.0, rel=0.02)
    assert times.std() / times.mean() == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("cv", [0.0, 0.5, 1.0, 4.0])
def test_gaps_vary_as_asked(cv: float) -> None:
    """At a steady rate, where nothing bends them."""
    arrivals, _ = calls(Scenario(calls_per_month=300_000, compute_seconds=1, shape=Shape.STEADY, gap_cv=cv))

    gaps = np.diff(arrivals)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05, abs=1e-6)


def test_afternoons_are_busier_than_nights_and_weekends() -> None:
    """The rhythm of people."""
    arrivals, _ = calls(Scenario(calls_per_month=300_000, compute_seconds=1, shape=Shape.DAILY, days=28))

    hours = np.bincount((arrivals // 3600).astype(int) % 24, minlength=24)
    days = np.bincount((arrivals // 86_400).astype(int) % 7, minlength=7)
    assert hours[15] > 5 * hours[3]
    assert days[5] < 0.7 * days[2]


@pytest.mark.parametrize(("name", "count", "cv"), [("azure-code", 8_819, 13.2), ("azure-conv", 19_366, 1.09)])
def test_the_shipped_traces_are_what_their_source_says(name: str, count: int, cv: float) -> None:
    """Bursts of code completion, and conversation nearly by chance."""
    arrivals, _ = calls(Scenario(calls_per_month=1, compute_seconds=1, trace=name, days=1))

    hour = arrivals[:count]
    assert np.diff(hour).std() / np.diff(hour).mean() == pytest.approx(cv, rel=0.01)
    assert arrivals[count] > hour[-1]
    assert 86_000 < arrivals[-1] < 86_400


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("when\n1\n", "no column named"),
        ("arrival\nsoon\n2\n", "line 2"),
        ("arrival\n1\n", "fewer than two"),
        ("arrival,seconds\n1,\n2,3\n", "line 2"),
    ],
)
def test_a_malformed_trace_is_refused_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    """A trace is somebody's export."""
    path = tmp_path / "trace.csv"
    path.write_text(text)

    with pytest.raises(BadInputError, match=reason):
        calls(Scenario(calls_per_month=1, compute_seconds=1, trace=str(path)))
