"""How a worker ends whose device has failed for good: soon, and as a failure, so that its host replaces it."""

from __future__ import annotations

import os
import threading

_LAST_WORDS_SECONDS = 3
"""Time for the jobs that wait to be told that another worker takes them."""
_EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""


def end_soon() -> None:
    """End this process in a moment, whatever its threads are doing."""
    timer = threading.Timer(_LAST_WORDS_SECONDS, os._exit, args=(_EXIT_CODE,))
    timer.daemon = True
    timer.start()
