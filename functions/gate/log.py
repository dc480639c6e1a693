"""Log lines as events with fields: one JSON object a line, as Cloud Logging reads them.

Fields are facts, never credentials: no token, key, URL of a provider or payload is passed to these functions.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TextIO

import msgspec

_encoder = msgspec.json.Encoder(enc_hook=str)


class EventLog:
    """Writes events to a stream; standard output by default, which is where a function's log is read from."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def info(self, event: str, **fields: object) -> None:
        """Record that something happened as it should."""
        self._write("INFO", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Record something that the operator may want to look at."""
        self._write("WARNING", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Record something that the operator has to look at."""
        self._write("ERROR", event, fields)

    def notify(self, event: str, **fields: object) -> None:
        """Tell the operator by a log line; this makes an event log the plainest `Notifier`."""
        self._write("WARNING", event, fields)

    def _write(self, severity: str, event: str, fields: dict[str, object]) -> None:
        line = {"severity": severity, "message": event, "time": datetime.now(UTC).isoformat(), **fields}
        stream = self._stream or sys.stdout
        stream.write(f"{_as_json(line)}\n")
        stream.flush()


def _as_json(line: dict[str, object]) -> str:
    with suppress(UnicodeEncodeError):  # a lone surrogate
        text = _encoder.encode(line)
        if text.isascii():
            return text.decode()
    return json.dumps(line, default=str)  # Escapes what some readers take for the end of a line.
