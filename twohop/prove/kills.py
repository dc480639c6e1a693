"""Which kills are tried: each alone, and with what else goes wrong beside."""

from __future__ import annotations

from collections.abc import Sequence

from twohop.prove.cases import SINGLE
from twohop.prove.crashes import Kill

_SECOND = " 2"
_STRIDE = 7
"""So that neighbouring faults meet kills of different kinds."""


def kills(points: Sequence[str], *, ledger: str, seed: int, pairs: bool) -> list[Kill]:
    """Return a kill at every point, and kills with one fault beside.

    Args:
        points: all at which hop 1 can die.
        ledger: `sqlite` or `firestore`.
        seed: of the faults.
        pairs: each fault meets each kind of step, before and after the second of them; else one kill alone.
    """
    alone = [Kill(point=point, ledger=ledger, seed=seed) for point in points]
    faults = [case for case in SINGLE if case.price_percent == 100]  # No price changes within seconds.
    kinds = [point for point in points if point.endswith(_SECOND)]
    met = {
        case.name: kinds if pairs else [points[number * _STRIDE % len(points)]] for number, case in enumerate(faults)
    }
    beside = [Kill(point=point, ledger=ledger, seed=seed, case=case) for case in faults for point in met[case.name]]
    return alone + beside
