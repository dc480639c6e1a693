"""The last answers, for a queue that asks for one again: it has lost the result, and silence would hang the job."""

from __future__ import annotations

from collections import OrderedDict

from worker.queue.results.result import Result

_COUNT_MAX = 1_000
_BYTES_MAX = 32_000_000


class Answered:
    """Remembers as many results as fit. Failures are not remembered: asked again, the job deserves another try."""

    def __init__(self, *, count_max: int = _COUNT_MAX, bytes_max: int = _BYTES_MAX) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._bytes = 0

    def add(self, job_id: str, result: Result) -> None:
        """Remember a result, and forget the oldest."""
        if result.failed or job_id in self._results:
            return
        self._results[job_id] = result
        self._bytes += len(result.body)
        while len(self._results) > self._count_max or self._bytes > self._bytes_max:
            self._bytes -= len(self._results.popitem(last=False)[1].body)

    def get(self, job_id: str) -> Result | None:
        """Return a job's result, if it is remembered."""
        return self._results.get(job_id)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._results
