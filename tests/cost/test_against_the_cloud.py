"""The forecast of a trace beside the fake GPU cloud's own bill for the same calls, job by job on virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

from twohop.cost.agreement import agreement

_PAGE = Path(__file__).parents[2] / "docs" / "cost.md"


@pytest.mark.parametrize(("trace", "hours"), [("azure-code", 24), ("azure-conv", 3)])
def test_the_forecast_of_a_trace_and_the_clouds_bill_agree(trace: str, hours: int) -> None:
    """Within two per cent: the same queue, starts, tails and rounding, told once as a loop and once as events."""
    found = agreement(trace, hours=hours)

    assert found.forecast_microdollars == pytest.approx(found.billed_microdollars, rel=0.02)
    # The page's numbers are these, and those of a day of azure-conv, which takes minutes, come of the same command.
    assert f"{found}" in _PAGE.read_text("utf-8")
