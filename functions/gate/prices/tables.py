"""Reads and writes price tables. Only the provider that is asked for is read: hop 1 starts with two files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import TypeVar

import msgspec

from gate.errors import SettingsError
from gate.prices.schema import GpuRate, PriceTable, Rate

PRICES = Path(__file__).parent
"""The folder that holds the tables."""

_Entry = TypeVar("_Entry", Rate, GpuRate)


def providers() -> tuple[str, ...]:
    """Return the names of all providers that have a table."""
    return tuple(sorted(path.stem for path in PRICES.glob("*.json")))


@cache
def load(provider: str) -> PriceTable:
    """Return one provider's table.

    Raises:
        SettingsError: there is none, or it is malformed; the message says what to write where.
    """
    path = PRICES / f"{provider}.json"
    try:
        text = path.read_bytes()
    except FileNotFoundError as exc:
        raise SettingsError(
            f"there are no prices for {provider!r}; known: {', '.join(providers())}. "
            f"Add functions/gate/prices/{provider}.json, like its neighbours, with dates and sources"
        ) from exc
    return parse(text, name=path.name)


def parse(text: bytes, *, name: str) -> PriceTable:
    """Read a table strictly.

    Raises:
        SettingsError: it is malformed; the message names the file and the field.
    """
    try:
        table = msgspec.json.decode(text, type=PriceTable)
    except msgspec.DecodeError as exc:
        raise SettingsError(f"functions/gate/prices/{name} is malformed: {exc}") from exc
    if f"{table.provider}.json" != name:
        raise SettingsError(f"functions/gate/prices/{name} says that it is {table.provider!r}: name both alike")
    return table


def dump(table: PriceTable) -> str:
    """Return a table as its file: one form only, so that a change shows as itself and nothing else."""
    return json.dumps(msgspec.to_builtins(table), indent=2, ensure_ascii=False) + "\n"


def in_effect(history: Sequence[_Entry], on: date, name: str) -> _Entry:
    """Return the newest entry whose effective date has come.

    Raises:
        SettingsError: none has; a price that is only announced is not in effect.
    """
    begun = [entry for entry in history if entry.effective <= on]
    if not begun:
        raise SettingsError(f"no price of {name!r} is in effect on {on}; its history begins later")
    return max(begun, key=lambda entry: entry.effective)
