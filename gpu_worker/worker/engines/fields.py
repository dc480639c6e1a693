"""Named fields of inputs and parameters, read one at a time, or said in one line what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worker.engines.inputs import check_text, kind
from worker.errors import InputError
from worker.settings import Limits

_NAME_CHARS_MAX = 40


def read_object(value: Any, name: str, fields: Sequence[str]) -> Mapping[str, Any]:
    """Return an object that has these fields and no others.

    Raises:
        InputError: it is something else, or lacks a field, or has another.
    """
    wanted = " and ".join(fields)
    if not isinstance(value, dict):
        raise InputError(f"{name} must be an object with {wanted}, not {kind(value)}")
    missing = [field for field in fields if field not in value]
    if missing:
        raise InputError(f"{name} has no {missing[0]}; it must be an object with {wanted}")
    unknown = [field for field in value if field not in fields]
    if unknown:
        # !a keeps the message one line of plain text whatever the name holds.
        raise InputError(f"{name} has an unknown field {unknown[0][:_NAME_CHARS_MAX]!a}; it takes {wanted}")
    return value


def read_text(value: Any, name: str, limits: Limits) -> str:
    """Return a text that a tokenizer can read.

    Raises:
        InputError: it is something else, or too long.
    """
    check_text(value, name, limits, accepted="it must be a string")
    return str(value)


def read_list(value: Any, name: str, limits: Limits) -> list[str]:
    """Return a list of one text or more.

    Raises:
        InputError: it is something else, or too long, or one of its texts is.
    """
    if not isinstance(value, list):
        raise InputError(f"{name} must be a list of strings, not {kind(value)}")
    if not 0 < len(value) <= limits.items_max:
        raise InputError(f"{name} has {len(value)} texts, and must have from 1 to {limits.items_max}")
    return [read_text(text, f"{name}[{index}]", limits) for index, text in enumerate(value)]
