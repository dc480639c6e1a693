"""Arrivals and compute times of a month, from a seed or from a trace."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from twohop.cost.scenario import Scenario, Shape
from twohop.errors import BadInputError

Seconds = NDArray[np.float64]

_TRACES = Path(__file__).parents[1] / "traces"
_SHIPPED = {path.name.removesuffix(".csv.gz"): path for path in _TRACES.glob("*.csv.gz")}
"""Traces that come with the package, by name: an hour of Azure's calls each, see twohop/traces/README.md."""

_HOUR = 3600.0
_WEEKEND = 0.6
_DAY = (
    (0.25,) * 7  # 0 to 7: the night
    + (0.6, 1.0, 1.4, 1.6, 1.6)  # the morning
    + (1.5, 1.7, 1.8, 1.8, 1.7, 1.5)  # noon and the afternoon
    + (1.3, 1.2, 1.1, 0.9, 0.6, 0.4)  # the evening
)
"""How much of the mean comes in each hour of a working day."""


def calls(scenario: Scenario) -> tuple[Seconds, Seconds]:
    """Return when calls arrive, ascending, and how long each computes."""
    if scenario.trace:
        return replayed(scenario)
    rng = np.random.default_rng(scenario.seed)
    return _arrivals(scenario, rng), _times(scenario, rng, scenario.calls_per_month)


def _arrivals(scenario: Scenario, rng: np.random.Generator) -> Seconds:
    """Draw gaps at a constant rate, then bend time by the rhythm: busy hours run faster."""
    count = scenario.calls_per_month
    # A month has exactly the calls that were asked for, so the last gap stands for the time after the last call.
    passed = np.cumsum(_positive(rng, mean=1.0, cv=scenario.cv, count=count + 1))
    share = passed[:-1] / passed[-1] if passed[-1] > 0 else np.linspace(0, 1, count)
    if scenario.shape is Shape.STEADY:
        return np.asarray(share * scenario.seconds, dtype=np.float64)
    edges = np.concatenate(([0.0], np.cumsum(hourly(scenario))))
    return np.asarray(np.interp(share, edges, np.arange(len(edges)) * _HOUR), dtype=np.float64)


def hourly(scenario: Scenario) -> Seconds:
    """Return the share of the month's calls that comes in each of its hours, on average."""
    if scenario.shape is Shape.STEADY:
        return np.full(scenario.days * 24, 1 / (scenario.days * 24))
    weights = np.array([_weight(hour) for hour in range(scenario.days * 24)])
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _weight(hour: int) -> float:
    return _DAY[hour % 24] * (_WEEKEND if hour // 24 % 7 >= 5 else 1.0)


def _times(scenario: Scenario, rng: np.random.Generator, count: int) -> Seconds:
    return _positive(rng, mean=scenario.compute_seconds, cv=scenario.compute_cv, count=count)


def _positive(rng: np.random.Generator, *, mean: float, cv: float, count: int) -> Seconds:
    """Draw from the gamma distribution of a mean and a variation; 1 is the exponential, 0 is always the mean."""
    if cv == 0:
        return np.full(count, mean)
    if cv == 1:
        return rng.exponential(mean, count)
    return rng.gamma(1 / cv**2, mean * cv**2, count)


def replayed(scenario: Scenario) -> tuple[Seconds, Seconds]:
    """Return a trace's arrivals from its first on, repeated until the month is full.

    Raises:
        BadInputError: the file has no column of times, or none that can be read.
    """
    path = _SHIPPED.get(scenario.trace or "", Path(scenario.trace or ""))
    try:
        with _opened(path) as lines:
            rows = list(_rows(lines, path))
    except OSError as exc:
        raise BadInputError(f"the trace {path} cannot be read: {exc.strerror or exc}") from exc
    except (EOFError, UnicodeDecodeError) as exc:
        raise BadInputError(f"the trace {path} cannot be read: {exc}") from exc
    if len(rows) < 2:
        raise BadInputError(f"the trace {path} has fewer than two arrivals")
    at = np.array([row[0] for row in rows])
    order = np.argsort(at, kind="stable")
    at = at[order] - at.min()
    given = np.array([row[1] for row in rows])[order]
    span = at[-1] + max(float(np.median(np.diff(at))), 1e-3)
    times = max(1, int(np.ceil(scenario.seconds / span)))
    arrivals = (at[None, :] + np.arange(times)[:, None] * span).ravel()
    arrivals = arrivals[arrivals < scenario.seconds]
    if np.isnan(given).any():
        return arrivals, _times(scenario, np.random.default_rng(scenario.seed), len(arrivals))
    return arrivals, np.tile(given, times)[: len(arrivals)]


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="", encoding="utf-8")
    return path.open(newline="", encoding="utf-8")


def _rows(lines: Iterable[str], path: Path) -> Iterator[tuple[float, float]]:
    """Yield time and compute seconds (NaN where the trace has none). Times are seconds, or ISO 8601."""
    reader = csv.DictReader(lines)
    names = {name.strip().lower(): name for name in reader.fieldnames or ()}
    time = next((names[name] for name in ("timestamp", "arrival", "arrival_seconds", "time") if name in names), None)
    took = next((names[name] for name in ("seconds", "compute_seconds", "duration") if name in names), None)
    if time is None:
        raise BadInputError(f"the trace {path} has no column named timestamp, arrival or time")
    for number, row in enumerate(reader, start=2):
        try:
            yield _moment(row[time]), float(row[took]) if took else float("nan")
        except (TypeError, ValueError) as exc:
            raise BadInputError(f"{path}, line {number}: {exc}") from exc


def _moment(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        # Python reads six decimals of a second, and traces have seven.
        head, _, decimals = text.partition(".")
        return datetime.fromisoformat(f"{head}.{decimals[:6]}" if decimals else head).timestamp()
