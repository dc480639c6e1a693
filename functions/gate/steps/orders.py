"""What a provider is asked to do for a job: while a call waits for it, or whether or not one does."""

from __future__ import annotations

from datetime import timedelta

from gate.domain.job import Job
from gate.domain.model import ServedModel
from gate.provider import Order
from gate.steps.webhooks import Webhooks


class Orders:
    """Makes orders for one model."""

    def __init__(self, *, model: ServedModel, webhooks: Webhooks) -> None:
        self._model = model
        self._webhooks = webhooks

    def awaited(self, job: Job, body: bytes) -> Order:
        """Return the order of a job that is worth nothing once its call has ended."""
        return Order(
            job_id=job.job_id,
            body=body,
            execution_ms_max=self._model.execution_ms_max,
            expires_at=job.held_at + timedelta(milliseconds=self._model.wait_ms_max),
            low_priority=job.low_priority,
        )

    def outliving(self, job: Job, body: bytes) -> Order:
        """Return the order of a job that goes on when its call has ended, and whose end is told."""
        return Order(
            job_id=job.job_id,
            body=body,
            execution_ms_max=self._model.execution_ms_max,
            expires_at=job.held_at + timedelta(milliseconds=self._model.outlive_ms_max),
            low_priority=job.low_priority,
            webhook=self._webhooks.address(job.job_id),
        )
