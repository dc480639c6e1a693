"""The key check: each request is signed with one of the worker's secrets, is fresh, and comes once."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from threading import Lock

from gate import wire
from worker.clock import Clock
from worker.errors import ReplayedError, UnauthenticatedError, UnavailableError

_KEPT_MS = 60_000
"""Signatures are remembered for so long after they expire, so that a clock set back a little revives none."""


class ReplayMemory:
    """Remembers signatures until they are worthless, and no more of them than fit.

    It is this process's memory. A request that one worker took can still be sent to another one, or to this one after
    a restart, until it expires: what bounds that is a short expiry.
    """

    def __init__(self, *, entries_max: int = 100_000) -> None:
        self._entries_max = entries_max
        self._seen: set[str] = set()
        self._by_expiry: list[tuple[int, str]] = []
        self._lock = Lock()

    def remember(self, signature: str, *, expires_ms: int, now_ms: int) -> None:
        """Take a signature for the first and only time.

        Raises:
            ReplayedError: it was taken before.
            UnavailableError: there is no room. To forget one early would let it in again, so new ones are refused.
        """
        with self._lock:
            self._forget_expired(now_ms)
            if signature in self._seen:
                raise ReplayedError("this request was sent before; sign a new one to run it again")
            if len(self._seen) >= self._entries_max:
                raise UnavailableError("the worker has taken too many requests that are still valid; try again later")
            self._seen.add(signature)
            heapq.heappush(self._by_expiry, (expires_ms, signature))

    def __len__(self) -> int:
        return len(self._seen)

    def _forget_expired(self, now_ms: int) -> None:
        while self._by_expiry and self._by_expiry[0][0] + _KEPT_MS <= now_ms:
            self._seen.discard(heapq.heappop(self._by_expiry)[1])


class KeyCheck:
    """Lets a request in that hop 1 signed, once. Safe to call from any thread."""

    def __init__(self, *, secrets: Sequence[bytes], clock: Clock, memory: ReplayMemory | None = None) -> None:
        self._secrets = tuple(secrets)
        self._clock = clock
        self._memory = ReplayMemory() if memory is None else memory

    def verify(self, request: wire.SignedRequest) -> None:
        """Check a request and remember it.

        Raises:
            UnauthenticatedError: its signature is missing or wrong, or its time has passed.
            ReplayedError: it was let in before.
            UnavailableError: no more requests can be remembered at the moment.
        """
        now_ms = self._clock.now_ms()
        self.prove(request)
        self._memory.remember(request.signature, expires_ms=request.expires_ms, now_ms=now_ms)

    def prove(self, request: wire.SignedRequest) -> None:
        """Check a request that may come again.

        Raises:
            UnauthenticatedError: its signature is missing or wrong, or its time has passed.
        """
        try:
            wire.verify(request, secrets=self._secrets, now_ms=self._clock.now_ms())
        except wire.SignatureError as exc:
            raise UnauthenticatedError(str(exc)) from exc
