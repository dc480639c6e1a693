"""A job in the cloud's hands, as its job API tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What RunPod takes as a job's `policy`."""

    execution_ms_max: int = 600_000
    ttl_ms: int = 86_400_000
    low_priority: bool = False
    """It waits for a worker that others started."""

    @classmethod
    def read(cls, fields: Any) -> Policy:
        """Read it; what is missing has RunPod's default."""
        fields = fields if isinstance(fields, Mapping) else {}
        return cls(
            execution_ms_max=int(fields.get("executionTimeout", cls().execution_ms_max)),
            ttl_ms=int(fields.get("ttl", cls().ttl_ms)),
            low_priority=fields.get("lowPriority") is True,
        )


@dataclass(slots=True, kw_only=True, eq=False)
class CloudJob:
    """One job."""

    job_id: str
    input: Any
    policy: Policy
    queued_ms: float
    retention_ms: float
    webhook: str | None = None
    status: str = "IN_QUEUE"
    taken_ms: float | None = None
    execution_ms: int | None = None
    output: Any = None
    error: str | None = None
    parts: list[str] = field(default_factory=list)
    """Written, and not streamed yet."""
    tries: int = 0
    looping: bool = False
    """It ends its worker at every try."""
    asked: int = 0
    """How often it was asked for after its end."""
    usage_told: bool = True
    usage_told_from: int = 0
    """The number of the question from which on it tells what it took."""
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL

    def to_json(self) -> dict[str, Any]:
        """Return what `/status` says."""
        fields: dict[str, Any] = {"id": self.job_id, "status": self.status}
        if self.taken_ms is not None:
            fields["delayTime"] = round(self.taken_ms - self.queued_ms)
        if self.tries > 1:
            fields["retries"] = self.tries - 1
        if self.final:
            told = self.usage_told and self.asked >= self.usage_told_from
            fields |= {"executionTime": self.execution_ms} if told and self.execution_ms is not None else {}
            fields |= {"output": self.output} if self.status == "COMPLETED" else {}
            fields |= {"error": self.error} if self.error else {}
        return fields
