"""What the gate's own parts say when the operator's command runs them, kept for a person to read."""

from __future__ import annotations

import io
import json
from typing import Any

from gate.log import EventLog


class Heard:
    """Gives out an event log, and tells what was written to it."""

    def __init__(self) -> None:
        self._lines = io.StringIO()
        self.log = EventLog(self._lines)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the fields of all events of a name, in order."""
        lines = [json.loads(line) for line in self._lines.getvalue().splitlines()]
        return [line for line in lines if line["message"] == name]
