"""Which job a request is: one of its own, or one that an equal request has started. Pure.

    an idempotency key              the caller says which requests are the same one
    a model whose answers are kept  equal inputs of one caller are, for as long as the owner says
    neither                         every request is another

All three are names, and a job's id is made of its name; that two requests are the same is then found by the commit
that holds them, with no read. Time is cut into windows as long as an answer may be given again, and a cached name
holds its window: so an answer is never older than that, and is asked for anew when its window ends. Windows of
different inputs end at different times, or all of a model's traffic would miss at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec

from gate.domain.request import InferRequest

_ROUNDS_MAX = 5
"""How often one idempotency key may start anew after tries that were released."""
_CACHED_ROUNDS_MAX = 2
"""The same for a kept answer that is none: an error is not given again."""


class JobName(msgspec.Struct, frozen=True, kw_only=True):
    """A name that a caller's request may go by."""

    text: str
    repeats: bool = True
    """Another request may have it."""
    cached: bool = False
    """It is made of what is asked, and not of what the caller says."""


def may_repeat(request: InferRequest, *, cache_seconds: int | None) -> bool:
    """Return whether another request's job may answer this one."""
    return request.idempotency_key is not None or cache_seconds is not None


def names_of(
    request: InferRequest,
    digest: str,
    *,
    cache_seconds: int | None,
    now: datetime,
    random: Callable[[], str],
) -> Iterator[JobName]:
    """Yield the names to try, one after the other, while the job of a name has no answer to give.

    Args:
        request: what is asked.
        digest: of what the worker would be sent.
        cache_seconds: how long an answer may be given again; None if it may not.
        now: the time.
        random: returns a text that nobody has had.
    """
    if request.idempotency_key is not None:
        for number in range(_ROUNDS_MAX):
            yield JobName(text=f"{number}:{request.idempotency_key}")
        return
    if cache_seconds is not None:
        window = _window(digest, now, cache_seconds)
        for number in range(_CACHED_ROUNDS_MAX):
            yield JobName(text=f"cached:{number}:{window}:{digest}", cached=True)
    yield JobName(text=f"0:{random()}", repeats=False)


def _window(digest: str, now: datetime, seconds: int) -> int:
    elapsed = int((now - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    return (elapsed + int(digest[:8], 16) % seconds) // seconds
