"""What a run says at its end: loudly, what this machine could not test, and how to get it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.missing import LEFT_OUT


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was left out, once each, after everything else."""
    reasons = Counter(
        str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr).partition(LEFT_OUT)[2]
        for report in terminalreporter.stats.get("skipped", [])
        if LEFT_OUT in str(report.longrepr)
    )
    if not reasons:
        return
    terminalreporter.section("LEFT OUT ON THIS MACHINE", sep="=", yellow=True, bold=True)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:>5} tests: {reason}", yellow=True)
