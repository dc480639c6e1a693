"""The arithmetic of a comparison: quantiles, and the ratios of rounds that were run in turns."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What several rounds gave."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of one value or more."""
        return cls(least=min(values), median=statistics.median(values), most=max(values))


def quantile(values: Sequence[float], part: float) -> float:
    """Return the least value that this part of them does not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return ours by theirs, round by round: a busy machine slows both of a round, and its ratio hardly.

    Raises:
        ValueError: they are not of the same rounds.
    """
    return Spread.of([one / other for one, other in zip(ours, theirs, strict=True)])


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine of the angle between two vectors; 0 if they differ in length or one has none."""
    lengths = math.hypot(*one) * math.hypot(*other)
    if len(one) != len(other) or not lengths:
        return 0.0
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / lengths
