"""Log lines as events with fields: one JSON object a line, the same shape as the gate's.

Fields are facts about a job, never its texts, its answer, a secret or a signature.
"""

from __future__ import annotations

import json
import sys
import traceback
from datetime import UTC, datetime
from typing import TextIO

import orjson

_TEXT_CHARS_MAX = 500


class EventLog:
    """Writes events to a stream; standard output by default, where every host reads a container's log."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def info(self, event: str, **fields: object) -> None:
        """Record that something happened as it should."""
        self._write("INFO", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Record something that the operator may want to look at."""
        self._write("WARNING", event, {name: _shortened(value) for name, value in fields.items()})

    def error(self, event: str, exc: BaseException | None = None, **fields: object) -> None:
        """Record something that the operator has to look at, with the traceback if there is one."""
        if exc is not None:
            fields["traceback"] = "".join(traceback.format_exception(exc))
        self._write("ERROR", event, fields)

    def _write(self, severity: str, event: str, fields: dict[str, object]) -> None:
        line = {"severity": severity, "message": event, "time": datetime.now(UTC), **fields}
        stream = self._stream or sys.stdout
        # One piece: lines of several threads never mix.
        stream.write(f"{_as_json(line)}\n")
        stream.flush()


def _as_json(line: dict[str, object]) -> str:
    try:
        text = orjson.dumps(line, default=str)
    except orjson.JSONEncodeError:  # an integer of more than 64 bits, a lone surrogate
        text = b""
    if text and text.isascii():
        return text.decode()
    return json.dumps(line, default=_told)  # Escapes what some readers take for the end of a line.


def _told(value: object) -> str:
    """Return what is no JSON as orjson has it."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _shortened(value: object) -> object:
    """Keep a stranger's header from filling the log."""
    return value[:_TEXT_CHARS_MAX] if isinstance(value, str) else value
