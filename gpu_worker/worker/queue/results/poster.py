"""One try to bring something to the queue: acknowledged, or why not and when to come again."""

from __future__ import annotations

from dataclasses import dataclass

from worker.queue.link.address import Address
from worker.queue.link.client import Client
from worker.queue.link.connection import retry_after
from worker.queue.link.errors import LostError

_POST_SECONDS_MAX = 60.0
_HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "charset": "utf-8"}
"""Not what the body is, but what RunPod's SDK says of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The queue did not acknowledge."""

    reason: str
    seconds: float = 0
    """How long it asked to be left alone."""


class Poster:
    """Posts to the addresses of one worker."""

    def __init__(self, *, client: Client, address: Address) -> None:
        self._client = client
        self._address = address

    async def post(self, job_id: str, body: bytes, *, worker_id: str) -> Refusal | None:
        """Post a job's result, and return None if it was acknowledged."""
        return await self._post(self._address.done(job_id, worker_id=worker_id), job_id, body)

    async def post_part(self, job_id: str, body: bytes) -> Refusal | None:
        """Post a part of a job's result, and return None if it was acknowledged."""
        return await self._post(self._address.stream(job_id), job_id, body)

    async def _post(self, url: str, job_id: str, body: bytes) -> Refusal | None:
        headers = {**_HEADERS, "X-Request-ID": job_id}
        try:
            reply = await self._client.send(
                "POST", url, seconds_max=_POST_SECONDS_MAX, body=body, headers=headers, name="post"
            )
        except LostError as exc:
            return Refusal(reason=str(exc))
        return None if reply.ok else Refusal(reason=f"the queue said {reply.status}", seconds=retry_after(reply))
