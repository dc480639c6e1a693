"""Large answers in a folder, read from the dev server: the embedded default of `make dev`."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

from gate.errors import ResultStoreError
from gate.ports import Clock
from gate.steps.results import Link

_GOOD_FOR = timedelta(days=1)
_JOB_ID = re.compile(r"[0-9A-Za-z_-]{1,128}")
_CONTEXT = b"twohop/result/1\n"


class FileResultStore:
    """A `ResultStore` in one folder, and the reading of it by signed addresses.

    Args:
        folder: made when it is needed.
        url: where `read` is served.
        secret: signs the addresses.
        clock: says when they expire.
    """

    def __init__(self, folder: str, *, url: str, secret: bytes, clock: Clock) -> None:
        self._folder = Path(folder)
        self._url = url
        self._secret = secret
        self._clock = clock

    async def keep(self, job_id: str, content: bytes) -> Link:
        """See `ResultStore.keep`."""
        try:
            await asyncio.to_thread(self._write, job_id, content)
        except OSError as exc:
            raise ResultStoreError(f"{self._folder}: {type(exc).__name__}") from exc
        return await self.link(job_id)

    async def link(self, job_id: str) -> Link:
        """See `ResultStore.link`."""
        expires_s = int((self._clock.now() + _GOOD_FOR).timestamp())
        query = {"job": job_id, "expires": expires_s, "proof": self._proof(job_id, str(expires_s))}
        return Link(url=f"{self._url}?{urlencode(query)}", expires_at=datetime.fromtimestamp(expires_s, UTC))

    async def close(self) -> None:
        """See `ResultStore.close`."""

    async def read(self, job_id: str, *, expires: str, proof: str) -> bytes | None:
        """Return an answer to whoever has its address; None if the address is not, or no more, a good one."""
        if not hmac.compare_digest(self._proof(job_id, expires).encode(), proof.encode("utf-8", "replace")):
            return None
        if int(expires) <= self._clock.now().timestamp():
            return None
        path = self._path(job_id)
        return await asyncio.to_thread(path.read_bytes) if path.is_file() else None

    def _write(self, job_id: str, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._path(job_id).with_suffix(".part")
        part.write_bytes(content)
        part.replace(self._path(job_id))

    def _path(self, job_id: str) -> Path:
        assert _JOB_ID.fullmatch(job_id), "job ids are made by the gate"
        return self._folder / f"{job_id}.json"

    def _proof(self, job_id: str, expires: str) -> str:
        message = _CONTEXT + f"{expires}\n{job_id}".encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()
