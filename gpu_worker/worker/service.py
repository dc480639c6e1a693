"""The service: from a signed request to a result, the same behind every host's front.

A front reads the request, calls `admit`, and hands `answer` to `submit`. `submit` is the only way to the compute
thread, so one job computes at a time while the front goes on answering.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from gate import wire
from worker.clock import Clock
from worker.engine import Engine
from worker.errors import InputError, RefusedError, TooLargeError, UnauthenticatedError, UnavailableError
from worker.keys import KeyCheck, ReplayMemory
from worker.log import EventLog
from worker.settings import Settings
from worker.start import start

_T = TypeVar("_T")


class Service:
    """Checks and runs jobs with one engine."""

    def __init__(
        self, settings: Settings, *, clock: Clock, log: EventLog, memory: ReplayMemory | None = None
    ) -> None:
        self._model_name = settings.model_name
        self._bytes_max = settings.limits.body_bytes_max
        self._keys = KeyCheck(secrets=settings.secrets, clock=clock, memory=memory)
        self._clock = clock
        self._log = log
        self._compute = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")
        self._engine: Engine | None = None
        self._start_ms_untold = 0

    def submit(self, work: Callable[[], _T]) -> Future[_T]:
        """Run something on the compute thread, after all that was submitted before it."""
        return self._compute.submit(work)

    def load(self, open_engine: Callable[[], Engine], *, began_ms: float) -> None:
        """Load the engine; to be submitted once, before any job.

        Raises:
            Exception: whatever went wrong, which is in the log. The worker is then of no use.
        """
        try:
            engine, start_ms = start(open_engine, log=self._log, clock=self._clock, began_ms=began_ms)
        except Exception as exc:
            self._log.error("worker.start_failed", exc)
            raise
        self._engine, self._start_ms_untold = engine, start_ms

    def admit(self, request: wire.SignedRequest) -> None:
        """Let a request in if hop 1 signed it, if it is fresh, and if it has not come before.

        Raises:
            RefusedError: the request is not to be run.
        """
        if len(request.body) > self._bytes_max:
            raise too_large(self._bytes_max)
        self._keys.verify(request)
        self._log.info("job.admitted", job_id=request.job_id, bytes=len(request.body))

    def refuse(self, exc: RefusedError) -> wire.WorkResult:
        """Return what a refused request is answered with. The full reason is for the log alone."""
        reason = exc.reason if isinstance(exc, UnauthenticatedError) else str(exc)
        self._log.warning("job.refused", code=exc.code, reason=reason)
        return wire.WorkResult(failure=wire.WorkFailure(code=exc.code, message=str(exc)))

    def answer(self, request: wire.SignedRequest) -> wire.WorkResult:
        """Run an admitted request. Never raises; to be submitted.

        Its time is counted from here on, so that a job does not pay for the one it waited for.
        """
        began_ms = self._clock.monotonic_ms()
        try:
            result = self._run(request)
        except UnavailableError as exc:
            return self.refuse(exc)
        except RefusedError as exc:
            result = _failed(exc.code, str(exc))
        except Exception as exc:
            self._log.error("job.crashed", exc, job_id=request.job_id)
            result = _failed("internal", "the worker failed on this job")
        return self._told(request.job_id, result, began_ms)

    def _run(self, request: wire.SignedRequest) -> wire.WorkResult:
        # It may have waited for others since it was admitted.
        if self._engine is None or self._clock.now_ms() >= request.expires_ms:
            raise UnavailableError("the job's time passed before its turn came; it was not run")
        answer = self._engine.run(self._decode(request.body))
        return wire.WorkResult(outputs=answer.outputs, usage=wire.WorkUsage(execution_ms=1, tokens=answer.tokens))

    def _decode(self, body: bytes) -> wire.WorkBody:
        try:
            work = wire.WorkBody.decode(body)
        except wire.WireError as exc:
            raise InputError(str(exc)) from exc
        if work.model.lower() != self._model_name:
            raise InputError(f"this worker serves {self._model_name!a}, not {work.model[:80]!a}")
        return work

    def _told(self, job_id: str, result: wire.WorkResult, began_ms: float) -> wire.WorkResult:
        """Return the result with its usage. The start is told with the first job that ran, and never again."""
        usage = wire.WorkUsage(
            execution_ms=max(1, round(self._clock.monotonic_ms() - began_ms)),
            start_ms=self._start_ms_untold,
            tokens=result.usage.tokens if result.usage else 0,
        )
        self._start_ms_untold = 0
        code = result.failure.code if result.failure else "ok"
        times = {"execution_ms": usage.execution_ms, "start_ms": usage.start_ms, "tokens": usage.tokens}
        self._log.info("job.done", job_id=job_id, code=code, **times)
        return wire.WorkResult(outputs=result.outputs, failure=result.failure, usage=usage)


def too_large(bytes_max: int) -> TooLargeError:
    """Return the error for a request of too many bytes."""
    return TooLargeError(f"the request has more than the {bytes_max} bytes that this worker takes")


def _failed(code: str, message: str) -> wire.WorkResult:
    return wire.WorkResult(failure=wire.WorkFailure(code=code, message=message))
