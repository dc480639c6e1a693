"""Random text that nobody can guess, for the ids that each request needs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

RandomHex = Callable[[int], str]
"""Returns so many random bytes as hexadecimal digits."""
_AT_ONCE_BYTES = 4_096
"""Each question to the system lets go of Python's lock, and waits for it under load."""


class _Pool:
    def __init__(self) -> None:
        self._lock, self._bytes, self._used = threading.Lock(), b"", 0
        os.register_at_fork(after_in_child=self._forget)  # Or two processes would give out the same.

    def take(self, size: int) -> bytes:
        with self._lock:
            if self._used + size > len(self._bytes):
                self._bytes, self._used = os.urandom(max(size, _AT_ONCE_BYTES)), 0
            self._used += size
            return self._bytes[self._used - size : self._used]

    def _forget(self) -> None:
        # The lock too: another thread may have held it when the process forked.
        self._lock, self._bytes, self._used = threading.Lock(), b"", 0


_pool = _Pool()


def random_hex(size_bytes: int) -> str:
    """Return so many random bytes of the system's as hexadecimal digits, each given out once."""
    return _pool.take(size_bytes).hex()
