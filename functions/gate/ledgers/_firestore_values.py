"""Values and field paths as Firestore's REST API writes them. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_SIMPLE = re.compile(r"^[A-Za-z_][A-Za-z_0-9]*$")


def encoded(value: Any) -> dict[str, Any]:
    """Return a value with its kind. Whole numbers travel as text: JSON's are not exact beyond 2^53."""
    kind, inner = _encoded(value)
    return {kind: inner}


def _encoded(value: Any) -> tuple[str, Any]:
    made: tuple[str, Any]
    match value:
        case None:
            made = "nullValue", None
        case bool():
            made = "booleanValue", value
        case str():
            made = "stringValue", str(value)
        case int():
            made = "integerValue", str(value)
        case float():
            # JSON has no numbers for what is none: those travel as words.
            made = "doubleValue", value if math.isfinite(value) else _WORDS[str(value)]
        case datetime():
            made = "timestampValue", value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Mapping():
            made = "mapValue", {"fields": encoded_fields(value)}
        case list() | tuple():
            made = "arrayValue", {"values": [encoded(one) for one in value]}
        case _:
            raise TypeError(f"Firestore keeps no {type(value).__name__}")
    return made


def encoded_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's fields with their kinds."""
    return {name: encoded(value) for name, value in fields.items()}


def decoded(value: Mapping[str, Any]) -> Any:
    """Return a value. Kinds that the gate never writes, such as references, come as the text that they are."""
    kind, inner = next(iter(value.items()))
    match kind:
        case "integerValue":
            return int(inner)
        case "doubleValue":
            return float(inner)
        case "timestampValue":
            return _time(inner)
        case "mapValue":
            return decoded_fields(inner.get("fields", {}))
        case "arrayValue":
            return [decoded(one) for one in inner.get("values", ())]
        case _:
            return inner


def decoded_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's fields."""
    return {name: decoded(value) for name, value in fields.items()}


def field_path(path: tuple[str, ...]) -> str:
    """Return the path of a field, with quotes around names that need them."""
    return ".".join(name if _SIMPLE.match(name) else _quoted(name) for name in path)


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _time(text: str) -> datetime:
    """Read a time. Firestore's own are finer than a microsecond; nothing here is."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}+00:00")
