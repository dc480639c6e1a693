"""What a job answered, kept for whoever asks later: in its document, or in a store if it is too large for one."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

import msgspec

from gate.domain.job import RESULT_BYTES_MAX, Job
from gate.errors import ResultStoreError
from gate.ports import Clock


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is good for a while."""

    url: str
    expires_at: datetime


class ResultStore(Protocol):
    """Keeps answers that are too large for a document."""

    async def keep(self, job_id: str, content: bytes) -> Link:
        """Keep a job's answer, and return where it can be read. Keeping it again replaces it.

        Raises:
            ResultStoreError: it is not known to be kept; call again.
        """
        ...

    async def link(self, job_id: str) -> Link:
        """Return an address of an answer that was kept: whoever has it may read the answer until it expires.

        Raises:
            ResultStoreError: no address can be made right now.
        """
        ...

    async def close(self) -> None:
        """Let go of connections. Closing twice is fine."""
        ...


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Where an answer is: one of the two."""

    result: str | None = None
    url: str | None = None
    expires_at: datetime | None = None


class Results:
    """Keeps the answers of jobs that nobody waits for."""

    def __init__(self, *, store: ResultStore | None, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @property
    def has_store(self) -> bool:
        """Whether an answer that is too large for a document can be kept at all."""
        return self._store is not None

    async def keep(self, job_id: str, outputs: Any) -> Kept:
        """Keep a job's outputs. Keeping them again is fine.

        Raises:
            ResultStoreError: they are too large for a document, and the store cannot be reached or there is none.
        """
        content = msgspec.json.encode(outputs)
        if len(content) <= RESULT_BYTES_MAX:
            return Kept(result=content.decode())
        if self._store is None:
            raise ResultStoreError(f"the answer has {len(content)} bytes, and RESULT_BUCKET is not set")
        link = await self._store.keep(job_id, content)
        return Kept(url=link.url, expires_at=link.expires_at)

    async def with_link(self, job: Job) -> Job:
        """Return a job with an address of its large answer that is still good, if it has one.

        Raises:
            ResultStoreError: its old address has expired, and no new one can be made right now.
        """
        expires_at = job.result_url_expires_at
        if expires_at is None or expires_at > self._clock.now() or self._store is None:
            return job
        link = await self._store.link(job.job_id)
        return msgspec.structs.replace(job, result_url=link.url, result_url_expires_at=link.expires_at)
