"""Answers as JSON: fast, and never with a number that JSON does not know."""

from __future__ import annotations

import json
from typing import Any

import orjson


def encode(fields: Any) -> bytes:
    """Return JSON in UTF-8. Arrays of numpy may be among the fields, and must be finite.

    Raises:
        TypeError: something is no JSON.
        ValueError: a number is not finite.
    """
    try:
        return orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError:
        # Integers beyond 64 bits, keys that are numbers, lone surrogates: what the owner's own code may answer.
        text = json.dumps(fields, ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=plain)
        return text.encode()


def without_arrays(fields: Any) -> Any:
    """Return fields as whoever reads their JSON has them, for those who know nothing of numpy; raises as `encode`."""
    return json.loads(encode(fields))


def plain(value: Any) -> Any:
    """Return an array of numpy's as lists.

    Raises:
        TypeError: it is something else.
    """
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON")
