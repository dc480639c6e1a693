"""The faults to prove against: each alone, and all pairs."""

from __future__ import annotations

from itertools import combinations

from twohop.cloud.faults import CloudFaults
from twohop.prove.case import Case
from twohop.prove.faults import LedgerFaults

SINGLE = (
    Case(name="ledger aborts", ledger=LedgerFaults(aborted=0.1)),
    Case(name="ledger answers lost", ledger=LedgerFaults(unavailable_after=0.1)),
    Case(name="ledger slow", ledger=LedgerFaults(slow=0.1)),
    Case(name="throttled", cloud=CloudFaults(throttled=0.1)),
    Case(name="cloud answers lost", cloud=CloudFaults(answer_lost=0.1)),
    Case(name="workers crash", cloud=CloudFaults(crashed=0.02)),
    Case(name="jobs time out", cloud=CloudFaults(timed_out=0.1)),
    Case(name="usage missing", cloud=CloudFaults(usage_missing=0.1)),
    Case(name="usage late", cloud=CloudFaults(usage_late=0.1)),
    Case(name="results forgotten", cloud=CloudFaults(forgotten=0.1)),
    Case(name="starts slow", cloud=CloudFaults(start_slow=0.3)),
    Case(name="retry loops", cloud=CloudFaults(looping=0.02)),
    Case(name="webhooks lost", cloud=CloudFaults(webhook_lost=0.3)),
    Case(name="webhooks doubled", cloud=CloudFaults(webhook_doubled=0.5)),
    Case(name="price rises", price_percent=80),
)
"""One thing goes wrong."""


def pairs() -> list[Case]:
    """Return all pairs of faults."""
    return [one + other for one, other in combinations(SINGLE, 2)]
