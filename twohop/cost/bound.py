"""One limit on a bill."""

from __future__ import annotations

from dataclasses import dataclass

HOURS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a limit allows in an hour and in a day, and the arithmetic of it."""

    name: str
    microdollars_per_hour: int
    microdollars_per_day: int
    because: str


def hourly_bound(name: str, microdollars: int, because: str) -> Bound:
    """Return a limit that holds in each hour of the day."""
    return Bound(
        name=name, microdollars_per_hour=microdollars, microdollars_per_day=microdollars * HOURS, because=because
    )
