"""The worker's event stream, read into parts and, at its end, its result."""

from __future__ import annotations

import json
from typing import Any

from gate.provider import Part


class EventReader:
    """Puts lines together into events. One stream, one reader."""

    def __init__(self) -> None:
        self._name = ""
        self._data = b""
        self.is_used = False
        """Whether any line ever came."""

    def take(self, line: bytes) -> tuple[str, Any] | None:
        """Take the next line, and return the event that it ends, as its name and its JSON; None if it ends none.

        An event that is no JSON is left out, as one of an unknown name is.
        """
        self.is_used = True
        line = line.removesuffix(b"\r")
        if line:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"event":
                self._name = value.decode("utf-8", "replace")
            elif field == b"data":
                self._data += value
            return None
        name, data, self._name, self._data = self._name, self._data, "", b""
        try:
            return (name, json.loads(data)) if data else None
        except (ValueError, RecursionError):
            return None


def part_of(name: str, fields: Any) -> Part | None:
    """Return the part that an event tells of; None if it is of another kind."""
    if not isinstance(fields, dict):
        return None
    if name == "part" and isinstance(fields.get("text"), str):
        return Part(text=fields["text"])
    done, total = fields.get("done"), fields.get("total")
    if name == "progress" and type(done) is int and type(total) is int:
        return Part(progress=(done, total))
    return None
