"""Tokens that were verified a moment ago, so that a page's next call costs a digest and not a signature."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from gate.callers.claims import Session
from gate.ports import Clock


class Verdicts:
    """Remembers sessions by their token's digest, never past the token's expiry, and no more of them than fit.

    Only good tokens are remembered: remembering bad ones would let a flood of them push the good ones out.
    """

    def __init__(self, *, entries_max: int, clock: Clock) -> None:
        self._entries_max = entries_max
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def get(self, token: str) -> Session | None:
        """Return the session of a token that was verified and has not expired since."""
        digest = _digest(token)
        session = self._sessions.get(digest)
        if session is None:
            return None
        if self._clock.now().timestamp() >= session.expires_at:
            del self._sessions[digest]
            return None
        self._sessions.move_to_end(digest)
        return session

    def put(self, token: str, session: Session) -> None:
        """Remember a verified token; the one that was used longest ago makes room."""
        self._sessions[_digest(token)] = session
        while len(self._sessions) > self._entries_max:
            self._sessions.popitem(last=False)

    def __len__(self) -> int:
        return len(self._sessions)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
