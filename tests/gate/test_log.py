"""Log lines are JSON, one to a line, whatever is in them."""

from __future__ import annotations

import pytest

from tests.gate.doubles import WatchedLog
from tests.makers import NOON


@pytest.mark.parametrize(
    ("write", "severity"),
    [
        pytest.param("info", "INFO", id="info"),
        pytest.param("warning", "WARNING", id="warning"),
        pytest.param("error", "ERROR", id="error"),
        pytest.param("notify", "WARNING", id="notify"),
    ],
)
def test_an_event_is_one_line_with_its_severity_and_fields(write: str, severity: str) -> None:
    """As Cloud Logging reads them."""
    log = WatchedLog()

    getattr(log, write)("job.held", job_id="j1", held_microdollars=7)

    [line] = log.lines()
    assert (line["severity"], line["message"]) == (severity, "job.held")
    assert (line["job_id"], line["held_microdollars"]) == ("j1", 7)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("two\nlines\r\u2028three", id="line-breaks"),
        pytest.param("\ud800", id="lone-surrogate"),
        pytest.param(NOON, id="a-time"),
        pytest.param({"nested": {1, 2}}, id="no-json"),
    ],
)
def test_any_value_keeps_to_its_line(value: object) -> None:
    """Nobody can forge a line of the log by what they send, and no value makes logging fail."""
    log = WatchedLog()

    log.info("request.refused", reason=value)

    assert len(log.lines()) == 1
