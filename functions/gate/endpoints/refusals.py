"""What the log is told of requests that were refused, or failed.

Whoever is refused may come again at once, thousands of times a second, and a log is paid for by the byte. So of each
kind the first few in a second are told one by one, and of the others how many there were, with the next refusal.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable

from gate.errors import GateError
from gate.log import EventLog

EACH_MAX = 20
"""Of one code, in a second."""


class Refusals:
    """Tells the log of one door's refusals.

    Args:
        log: is told.
        monotonic: seconds that never go back.
    """

    def __init__(self, log: EventLog, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._monotonic = monotonic
        self._second_ends_at = 0.0
        self._counted: Counter[str] = Counter()

    def tell(self, exc: Exception, request_id: str) -> None:
        """Put what a client is not told of an error into the log."""
        if not isinstance(exc, GateError):
            # A bug, or an answer that cannot be written as JSON.
            trace = "".join(traceback.format_exception(exc))
            self._log.error("request.failed", request_id=request_id, traceback=trace)
            return
        self._turn()
        self._counted[exc.code] += 1
        if self._counted[exc.code] <= EACH_MAX:
            self._log.info(
                "request.refused", request_id=request_id, code=exc.code, error=type(exc).__name__, reason=str(exc)
            )

    def _turn(self) -> None:
        """Begin a new second, if the last is over, and tell how many of it were not told one by one."""
        now = self._monotonic()
        if now < self._second_ends_at:
            return
        self._second_ends_at = now + 1
        more = {code: count - EACH_MAX for code, count in self._counted.items() if count > EACH_MAX}
        self._counted.clear()
        if more:
            self._log.warning("request.refused_more", more=more)
