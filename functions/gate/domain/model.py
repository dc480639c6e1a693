"""The model that is served, and what a job of it may cost. Pure."""

from __future__ import annotations

import msgspec

from gate.money import Spent, Tariff

_WIND_UP_MS = 20_000
"""How long hop 1 may be busy with a job after its wait: cancelling it, and asking what it took."""


class ServedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that callers may name, and what a job of it may cost."""

    name: str
    tariff: Tariff
    execution_ms_max: int
    wait_ms_max: int
    """How long hop 1 waits for the answer: the start of a worker, the queue and the execution."""
    outlive_ms_max: int = 3_600_000
    """How long a job may wait and run that no call is held open for."""

    @property
    def worst_case_microdollars(self) -> int:
        """The hold for one job."""
        return self.tariff.worst_case_microdollars(
            execution_ms_max=self.execution_ms_max, wait_ms_max=self.wait_ms_max + _WIND_UP_MS
        )

    @property
    def worst_case_gpu_microdollars(self) -> int:
        """The worker's part of that hold."""
        return self.tariff.gpu_microdollars(Spent(execution_ms=self.worst_case_gpu_ms))

    @property
    def worst_case_gpu_ms(self) -> int:
        """The GPU time that is held for one job."""
        return self.execution_ms_max + self.tariff.start_ms_max + self.tariff.billed_pull_ms
