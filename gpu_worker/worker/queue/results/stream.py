"""Streams of a job's parts: one post at a time, and all that comes meanwhile goes together with the next.

A post for each token brings no more than one token a round trip. Merged, the stream is as fast as the model, however
slow the link is, and it is never further behind than the one post under way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from worker.queue.link.backoff import Backoff
from worker.queue.results.poster import Poster

_PARTS_MAX = 10_000
"""How far a model may run ahead of a queue that takes nothing."""
_TRIES = 5

Merge = Callable[[Sequence[Any]], Any]


async def post_stream(
    parts: AsyncIterator[Any], *, poster: Poster, job_id: str, merge: Merge | None = None
) -> list[Any]:
    """Post what an iterator yields, in order, and return all of it when the last was acknowledged.

    A part that the queue refuses goes again, together with what came after it; after some tries the rest is left to
    the job's result, which has all of it. A part whose acknowledgement was lost is posted twice: the result is what
    counts.

    Args:
        parts: text as a rule.
        poster: makes one try.
        job_id: whose parts they are.
        merge: makes one part of several; texts are joined, and anything else goes as a list, if None.
    """
    buffer = _Buffer()
    reading = asyncio.create_task(buffer.fill(parts))
    posting = asyncio.create_task(_post_all(buffer, poster, job_id, merge or _merged))
    try:
        await asyncio.wait((reading, posting), return_when=asyncio.FIRST_EXCEPTION)
        for task in (reading, posting):
            if task.done():
                task.result()
    finally:
        reading.cancel()
        posting.cancel()
    return buffer.seen


class _Buffer:
    """What was yielded and not yet posted."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self._posted = 0
        self._ended = False
        self._changed = asyncio.Condition()

    async def fill(self, parts: AsyncIterator[Any]) -> None:
        try:
            async for part in parts:
                self.seen.append(part)
                async with self._changed:
                    self._changed.notify_all()
                    await self._changed.wait_for(lambda: len(self.seen) - self._posted < _PARTS_MAX)
        finally:
            self._ended = True
            async with self._changed:
                self._changed.notify_all()

    async def waiting(self) -> list[Any]:
        """Wait for parts, and return all there are; none means the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended or len(self.seen) > self._posted)
        return self.seen[self._posted :]

    async def posted(self, count: int) -> None:
        async with self._changed:
            self._posted += count
            self._changed.notify_all()


async def _post_all(buffer: _Buffer, poster: Poster, job_id: str, merge: Merge) -> None:
    wait, failed = Backoff(first=0.1, most=5), 0
    while waiting := await buffer.waiting():
        body = json.dumps({"output": merge(waiting)}, ensure_ascii=False).encode(errors="replace")
        refusal = await poster.post_part(job_id, body) if failed < _TRIES else None
        if refusal is None:
            await buffer.posted(len(waiting))
            continue
        failed += 1
        await asyncio.sleep(wait.next_seconds(least=refusal.seconds))


def _merged(parts: Sequence[Any]) -> Any:
    if all(isinstance(part, str) for part in parts):
        return "".join(parts)
    return parts[0] if len(parts) == 1 else list(parts)
