"""What certainly stands in a budget, and what may stand, while calls to its ledger overlap.

Between a call and its answer nobody outside knows whether it was done. So a hold certainly stands from its answer on
and may stand from its question on; a settlement may be done from its question on and certainly is from its answer on.
"""

from __future__ import annotations


class Bounds:
    """Of all jobs together, in micro-dollars."""

    def __init__(self) -> None:
        self._least: dict[str, int] = {}
        self._most: dict[str, int] = {}

    @property
    def least(self) -> int:
        """No less was spent."""
        return sum(self._least.values())

    @property
    def most(self) -> int:
        """No more was spent."""
        return sum(self._most.values())

    def asked(self, job_id: str, microdollars: int) -> None:
        """A hold was asked for."""
        self._most.setdefault(job_id, microdollars)

    def admitted(self, job_id: str, microdollars: int) -> None:
        """It stands."""
        self._least[job_id] = microdollars

    def denied(self, job_id: str) -> None:
        """It does not stand, and is put back."""
        self._most.pop(job_id, None)

    def settling(self, job_id: str, microdollars: int) -> None:
        """A settlement was asked for."""
        self._least[job_id] = min(self._least.get(job_id, 0), microdollars)

    def settled(self, job_id: str, microdollars: int) -> None:
        """A job ended, and pays this."""
        self._least[job_id] = self._most[job_id] = microdollars
