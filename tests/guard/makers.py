"""Parts of the guard, as tests put them together."""

from __future__ import annotations

from typing import Any

from gate.guard.overhead import OverheadCount
from gate.log import EventLog
from tests.makers import make_model


def make_overhead_count(store: Any, log: EventLog) -> OverheadCount:
    longest = make_model().worst_case_gpu_microdollars
    return OverheadCount(ledger=store, documents=store, job_microdollars_max=longest, log=log)
