"""From how many calls a month a worker that is always on costs no more than workers that end."""

from __future__ import annotations

from gate.prices import Kind
from twohop.cost.book import Book
from twohop.cost.forecast import changed, forecast
from twohop.cost.scenario import Design, Scenario

_CALLS_MOST = 1_000_000
_STEPS = 10
_FULL = 0.8
"""How much of its time one worker computes at most; a queue behind one that is fuller has no end."""


def break_even(scenario: Scenario, book: Book, kept: Book, *, design: Design | None = None) -> int | None:
    """Return from how many calls a month one always-on worker has the lower bill.

    Args:
        scenario: the traffic; how many calls it has does not matter.
        book: who runs the workers that end.
        kept: who runs the one that does not.
        design: of the latter; the scenario's own if None.

    Returns:
        None if it never has, up to what one worker can compute.
    """
    minimum = 0 if kept.kind is Kind.MACHINE else 1
    always = changed(scenario, workers_min=minimum, workers_max=1, design=design or scenario.design)
    most = min(int(scenario.seconds / scenario.compute_seconds * _FULL * scenario.jobs_at_once), _CALLS_MOST)

    def cheaper(count: int) -> bool:
        ending = forecast(_of_calls(scenario, count), book)
        return forecast(_of_calls(always, count), kept).microdollars <= ending.microdollars

    # Near its limit its own queue may cost more again, where a function holds the calls: so from below.
    steps = [most >> halved for halved in range(_STEPS, -1, -1)]
    first = next((step for step in steps if step and cheaper(step)), None)
    if first is None:
        return None
    least = first // 2
    while first - least > max(1, first // 50):
        middle = (least + first) // 2
        least, first = (least, middle) if cheaper(middle) else (middle, first)
    return first


def _of_calls(scenario: Scenario, count: int) -> Scenario:
    return changed(scenario, calls_per_month=max(1, count), trace=None)
