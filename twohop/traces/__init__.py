"""Arrivals of real requests: to play against the fake cloud, and to forecast from. README.md says whose they are."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from importlib.resources import files

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request."""

    at_ms: int
    context_tokens: int
    generated_tokens: int


def code_hour() -> list[Arrival]:
    """Return the trace as it is: an hour, oldest request first."""
    packed = (files(__name__) / "azure-code.csv.gz").read_bytes()
    rows = csv.DictReader(gzip.decompress(packed).decode().splitlines())
    return [
        Arrival(
            at_ms=round(float(row["arrival"]) * 1000),
            context_tokens=int(row["context_tokens"]),
            generated_tokens=int(row["generated_tokens"]),
        )
        for row in rows
    ]


def code_day() -> list[Arrival]:
    """Return a day with as many requests as the hour has: hour h plays every 24th of them, from number h on."""
    hour = code_hour()
    return [
        Arrival(
            at_ms=number * HOUR_MS + arrival.at_ms,
            context_tokens=arrival.context_tokens,
            generated_tokens=arrival.generated_tokens,
        )
        for number in range(24)
        for arrival in hour[number::24]
    ]
