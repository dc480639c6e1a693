"""The queue's settings: read once from the environment, next to the worker's own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from worker.queue.link.address import Address
from worker.settings import number


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """How the loop speaks to the queue."""

    address: Address
    jobs_max: int = 32
    """Jobs that are taken and not yet answered, at most."""
    jobs_least: int = 1
    """Jobs that are taken whatever they take: as many as the engine is known to run together."""
    soon_ms: int = 500
    """More jobs are taken only while those taken are answered within this, or nearly as fast as one alone."""
    stop_seconds_max: float = 30
    """How long work in flight is waited for after SIGTERM."""
    result_bytes_max: int = 20_000_000
    """What RunPod takes."""
    ping_seconds: float = 10
    spool: Path
    """Where results are kept that the queue has not acknowledged."""
    retry_seconds: float = 0.2
    """The first wait after a result was refused; each further one is twice as long."""
    resend_seconds: float = 10
    """The first wait before what lies in the spool is sent again."""

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, jobs_max: int, stop_seconds_max: float) -> QueueSettings:
        """Read and check the environment.

        Raises:
            SettingsError: a value is missing or malformed.
        """
        return cls(
            address=Address.from_env(env),
            jobs_max=jobs_max,
            stop_seconds_max=stop_seconds_max,
            jobs_least=number(env, "JOBS_LEAST", 1, least=1),
            soon_ms=number(env, "JOBS_SOON_MS", 500, least=1),
            ping_seconds=number(env, "RUNPOD_PING_INTERVAL", 10_000, least=1) / 1_000,
            retry_seconds=number(env, "QUEUE_RETRY_MS", 200, least=1) / 1_000,
            resend_seconds=number(env, "QUEUE_RESEND_MS", 10_000, least=1) / 1_000,
            spool=Path(env.get("QUEUE_SPOOL", "").strip() or Path(tempfile.gettempdir()) / "twohop-spool"),
        )
