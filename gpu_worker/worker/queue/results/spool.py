"""The spool: results that the queue has not acknowledged, one file each, so that they outlive this process.

A result goes there when its first try failed, not before: nothing of a job is on disk while the queue answers.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_BYTES_MAX = 500_000_000
_KEPT_SECONDS = 24 * 60 * 60
"""RunPod forgets a job after a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A result in the spool."""

    job_id: str
    worker_id: str
    """Who took the job; its address is where the result goes."""
    body: bytes


class Spool:
    """Results in files of a folder, readable by this user alone.

    Args:
        folder: is made when it is needed.
        queue: names the queue: on a volume that several share, each sends its own results alone.
        now: the wall clock's seconds, which a later process can compare with.
    """

    def __init__(self, folder: Path, *, queue: str, now: Callable[[], float] = time.time) -> None:
        self._folder = folder / hashlib.sha256(queue.encode()).hexdigest()[:16]
        self._now = now

    def keep(self, kept: Kept) -> None:
        """Keep a result; keeping it twice changes nothing.

        Raises:
            OSError: the folder cannot be written, or is full.
        """
        path = self._path(kept.job_id)
        if path.exists():
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sum(other.stat().st_size for other in self._folder.glob("*.result")) + len(kept.body) > _BYTES_MAX:
            raise OSError(f"the spool holds {_BYTES_MAX} bytes; nothing was acknowledged for long")
        head = json.dumps({"job_id": kept.job_id, "worker_id": kept.worker_id}).encode()
        half = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(head + b"\n" + kept.body)
        half.replace(path)

    def drop(self, job_id: str) -> None:
        """Forget a result that was acknowledged. Dropping one that is not there changes nothing."""
        self._path(job_id).unlink(missing_ok=True)

    def read(self) -> Iterator[Kept]:
        """Yield what is kept, the oldest first. What is older than the queue remembers is dropped."""
        for path in sorted(self._folder.glob("*.result"), key=_age):
            if self._now() - _age(path) > _KEPT_SECONDS:
                path.unlink(missing_ok=True)
                continue
            with suppress(OSError, ValueError, KeyError):  # another process may have sent it meanwhile
                head, _, body = path.read_bytes().partition(b"\n")
                fields = json.loads(head)
                yield Kept(job_id=fields["job_id"], worker_id=fields["worker_id"], body=body)

    def _path(self, job_id: str) -> Path:
        return self._folder / f"{hashlib.sha256(job_id.encode(errors='surrogatepass')).hexdigest()[:32]}.result"


def _age(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0
