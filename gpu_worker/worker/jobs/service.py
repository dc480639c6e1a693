"""The service: from a signed request to a result, the same behind every host's front.

A front reads the request, calls `admit`, and awaits `answer`. A few threads read and write requests and the batcher's
one computes, so that the front goes on answering and the engine never waits for a tokenizer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from gate import wire
from worker.batching.batcher import Batcher
from worker.batching.request import Computed, Sink
from worker.clock import Clock
from worker.engine import Engine, Quick, Work, Writes
from worker.errors import (
    InputError,
    ModelError,
    RefusedError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    contained,
)
from worker.jobs.handover import Handover
from worker.jobs.keys import KeyCheck, ReplayMemory
from worker.log import EventLog
from worker.settings import Settings
from worker.start import start
from worker.usage.life import Life, Part
from worker.usage.measured import Measured
from worker.usage.memory import peak_mib

_T = TypeVar("_T")
_U = TypeVar("_U")

_READERS = 2
_NO_PHASES: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """What an answered job was and took."""

    outputs: Any
    tokens: int
    """That went through the model, and that it wrote."""
    computed: Computed


class Service:
    """Checks and runs jobs with one engine.

    Args:
        settings: the secrets, the model's name and the limits.
        clock: says what has expired, and measures.
        log: gets an event for each job.
        memory: of the requests seen; one of its own if None.
        on_broken: called when the device has failed for good, so that the process can end.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        log: EventLog,
        memory: ReplayMemory | None = None,
        on_broken: Callable[[], None] = lambda: None,
    ) -> None:
        self._model_name = settings.model_name
        self._bytes_max = settings.limits.body_bytes_max
        self._keys = KeyCheck(secrets=settings.secrets, clock=clock, memory=memory)
        self.clock = self._clock = clock
        self.log = self._log = log
        self.measured = Measured()
        """What was done so far."""
        self._readers = ThreadPoolExecutor(max_workers=_READERS, thread_name_prefix="reader")
        self._batcher = Batcher(
            clock=clock,
            log=log,
            tokens_max=settings.limits.batch_tokens_max,
            batch_ms_max=settings.limits.batch_ms_max,
            room_max=settings.limits.cache_tokens_max,
            measured=self.measured,
            on_broken=on_broken,
        )
        self._engine: Engine | None = None
        self._quick_bytes_max = 0
        self._handover: Handover | None = None
        self._life = Life(clock)
        self._phases_untold = _NO_PHASES

    def load(self, open_engine: Callable[[], Engine], *, began_ms: float) -> Future[int]:
        """Load the engine, to be called once, before any job, and return how long the start took, in milliseconds.

        The future raises whatever went wrong, which is in the log. The worker is then of no use.
        """
        return self._batcher.call(lambda: self._load(open_engine, began_ms))

    def _load(self, open_engine: Callable[[], Engine], began_ms: float) -> int:
        try:
            with contained():
                engine, began = start(open_engine, log=self._log, clock=self._clock, began_ms=began_ms)
        except ModelError as exc:
            # Its message is for the owner; a traceback is there for what their own file, or a library, raised.
            self._log.error("worker.start_failed", exc.__cause__, reason=str(exc))
            raise
        except Exception as exc:
            self._log.error("worker.start_failed", exc)
            raise
        self._batcher.use(engine)
        self._quick_bytes_max = engine.quick_bytes_max if isinstance(engine, Quick) else 0
        self.measured.started(began.phases_ms)
        self._life.started(began.ms)
        self._engine, self._phases_untold = engine, began.phases_ms
        return began.ms

    @property
    def writes(self) -> bool:
        """Whether the model writes token by token, so that there is something to stream."""
        return isinstance(self._engine, Writes)

    def admit(self, request: wire.SignedRequest) -> None:
        """Let a request in if hop 1 signed it, if it is fresh, and if it has not come before.

        Raises:
            RefusedError: the request is not to be run.
        """
        if len(request.body) > self._bytes_max:
            raise too_large(self._bytes_max)
        self._keys.verify(request)
        self._log.info("job.admitted", job_id=request.job_id, bytes=len(request.body))

    def prove(self, request: wire.SignedRequest) -> None:
        """Let a question about a job through if hop 1 signed it and it is fresh. It may be asked again.

        Raises:
            UnauthenticatedError: it did not, or it is not.
        """
        self._keys.prove(request)

    def refuse(self, exc: RefusedError) -> wire.WorkResult:
        """Return what a refused request is answered with. The full reason is for the log alone."""
        reason = exc.reason if isinstance(exc, UnauthenticatedError) else str(exc)
        self._log.warning("job.refused", code=exc.code, reason=reason)
        self.measured.failed(exc.code)
        return wire.WorkResult(failure=wire.WorkFailure(code=exc.code, message=str(exc)))

    async def answer(self, request: wire.SignedRequest, sink: Sink | None = None) -> wire.WorkResult:
        """Run an admitted request. Raises nothing but its own cancellation, which drops a job that has not begun.

        The sink gets what is made before the end, if the request asks for that; it is called from another thread.
        """
        began_ms, entered = self._clock.monotonic_ms(), self._life.enter()
        result, ran = await self._ended(request, sink, entered)
        share_ms = self._life.leave(entered)
        if result.failure and result.failure.code == UnavailableError.code:
            self._life.leave_untold(share_ms)
            return result
        execution_ms = ran.computed.compute_ms if ran else self._clock.monotonic_ms() - began_ms
        return self._told(request, result, execution_ms=execution_ms, ran=ran, part=self._life.tell(share_ms))

    async def _ended(
        self, request: wire.SignedRequest, sink: Sink | None, entered: float
    ) -> tuple[wire.WorkResult, _Ran | None]:
        """Run a request to its end, whatever that is."""
        try:
            ran = await self._run(request, sink)
        except UnavailableError as exc:
            return self.refuse(exc), None
        except RefusedError as exc:
            return _failed(exc.code, str(exc)), None
        except asyncio.CancelledError:
            self._life.leave(entered)  # whoever cancels it pays for all of its time, which is more
            raise
        except Exception as exc:
            self._log.error("job.crashed", exc, job_id=request.job_id)
            return _failed("internal", "the worker failed on this job"), None
        return wire.WorkResult(outputs=ran.outputs), ran

    async def _run(self, request: wire.SignedRequest, sink: Sink | None) -> _Ran:
        # A step is taken here, if that is quicker than to wake another thread for it.
        is_quick = len(request.body) <= self._quick_bytes_max
        prepare, body = self._prepare, request.body
        work, stream = _step(prepare, body) if is_quick else await self._read(prepare, body)
        computing = self._batcher.submit(work, expires_ms=request.expires_ms, sink=sink if stream else None)
        if self._handover is None or not self._handover.is_here:
            self._handover = Handover()
        computed = await self._handover.wait(computing)
        finish, rows = work.finish, computed.rows
        outputs = _step(finish, rows) if is_quick else await self._read(finish, rows)
        tokens = work.tokens + computed.tokens_written + work.written(rows)
        return _Ran(outputs=outputs, tokens=tokens, computed=computed)

    async def _read(self, step: Callable[[_T], _U], given: _T) -> _U:
        return await asyncio.get_running_loop().run_in_executor(self._readers, _step, step, given)

    def _prepare(self, body: bytes) -> tuple[Work, bool]:
        """Return what is to be computed, and whether its parts are wanted."""
        if self._engine is None:
            raise UnavailableError("the worker is starting; try again in a moment")
        decoded = self._decode(body)
        return self._engine.prepare(decoded), decoded.stream

    def _decode(self, body: bytes) -> wire.WorkBody:
        try:
            work = wire.WorkBody.decode(body)
        except wire.WireError as exc:
            raise InputError(str(exc)) from exc
        if work.model.lower() != self._model_name:
            raise InputError(f"this worker serves {self._model_name!a}, not {work.model[:80]!a}")
        return work

    def _told(
        self,
        request: wire.SignedRequest,
        result: wire.WorkResult,
        *,
        execution_ms: float,
        ran: _Ran | None,
        part: Part,
    ) -> wire.WorkResult:
        """Return the result with its usage. The start is told with the first job that ran, and never again.

        A job that was computed counts its share of the batches it was in; one that failed, all of its time.
        """
        usage = wire.WorkUsage(
            execution_ms=max(1, round(execution_ms)),
            start_ms=part.start_ms,
            gap_ms=part.gap_ms,
            share_ms=part.share_ms,
            life_ms=part.life_ms,
            phases_ms=self._phases_untold,
            tokens=ran.tokens if ran else 0,
            queue_ms=round(ran.computed.queue_ms) if ran else 0,
            batch_items=ran.computed.batch_items if ran else 0,
            memory_peak_mib=peak_mib(),
        )
        self._phases_untold = _NO_PHASES
        code = result.failure.code if result.failure else "ok"
        self._log.info("job.done", job_id=request.job_id, code=code, **usage.to_json())
        if ran:
            self.measured.ran(queue_ms=ran.computed.queue_ms, compute_ms=ran.computed.compute_ms, tokens=ran.tokens)
        else:
            self.measured.failed(code)
        return wire.WorkResult(outputs=result.outputs, failure=result.failure, usage=usage)


def too_large(bytes_max: int) -> TooLargeError:
    """Return the error for a request of too many bytes."""
    return TooLargeError(f"the request has more than the {bytes_max} bytes that this worker takes")


def _step(step: Callable[[_T], _U], given: _T) -> _U:
    """Take a step with a request, which is an error of that request alone, whatever it raises."""
    with contained():
        return step(given)


def _failed(code: str, message: str) -> wire.WorkResult:
    return wire.WorkResult(failure=wire.WorkFailure(code=code, message=message))
