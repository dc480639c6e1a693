"""The worker's log lines are JSON, one to a line, whatever is in them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from worker.log import EventLog


@pytest.mark.parametrize(
    ("value", "told"),
    [
        pytest.param("two\nlines\r\u2028three", "two\nlines\r\u2028three", id="line breaks"),
        pytest.param("\ud800", "\ud800", id="half a surrogate pair"),
        pytest.param(1 << 70, 1 << 70, id="a large number"),
        pytest.param(Path("/model"), "/model", id="no JSON"),
    ],
)
def test_any_value_keeps_to_its_line(value: object, told: object) -> None:
    """Nobody can forge a line of the log by what they send, and no value makes logging fail."""
    stream = io.StringIO()

    EventLog(stream).warning("job.refused", reason=value)

    written = stream.getvalue()
    assert written.isascii()
    assert written.splitlines(keepends=True) == [written]
    assert json.loads(written)["reason"] == told
