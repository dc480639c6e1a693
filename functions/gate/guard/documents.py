"""The guard's own documents, between its structs and what a store holds."""

from __future__ import annotations

from typing import Any

import msgspec


def to_document(value: msgspec.Struct) -> dict[str, Any]:
    """Return a struct as plain JSON values, as every store gives them back: times are ISO 8601 texts."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return document
