"""Batching across requests: what is waiting runs together, in turns, bounded by what it costs.

One thread owns the model. When it is free it takes the next batch at once, so an idle engine never waits for company.
A batch takes one item of each waiting request in turn until it is full: a short request goes with the next batch,
however long the one before it is. It is full by tokens, because memory is, and by predicted time, so that whoever
comes next does not wait long: sooner where what is left are further items of a list. One bad item fails its own
request alone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from worker.batching.cost import CostModel
from worker.batching.fit import Fit
from worker.batching.request import Computed, Request, Sink
from worker.batching.writing import Run, Writing
from worker.clock import Clock
from worker.engine import Engine, Item, Work, Writes
from worker.errors import BrokenDeviceError, InputError, OutOfMemoryError, UnavailableError, contained, let_go
from worker.log import EventLog
from worker.turns import end_turn
from worker.usage.measured import Measured

_T = TypeVar("_T")

_FURTHER = 0.4
"""Of a batch's time, for those who had a turn before. Those who had none gain nothing by being left for the next one:
together they take less time."""

_Batch = list[tuple[Request, int]]
"""Items by their request and their place in it."""


class Batcher:
    """Runs the items of many requests on one engine, from a thread of its own.

    Args:
        clock: measures, and says when a request has expired.
        log: gets what went wrong with a batch.
        tokens_max: of one batch, without padding; fewer where memory does not hold them.
        batch_ms_max: how long a batch may be predicted to take.
        room_max: of what is written at once, in tokens of prompts and answers.
        measured: counts the batches.
        on_broken: called once, from the thread, when the device answers no more.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        log: EventLog,
        tokens_max: int,
        batch_ms_max: float,
        room_max: int = 16_384,
        measured: Measured | None = None,
        on_broken: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._log = log
        self._fit = Fit(tokens_max)
        self._batch_ms_max = batch_ms_max
        self._room_max = room_max
        self._measured = measured or Measured()
        self._on_broken = on_broken
        self._costs = CostModel()
        self._changed = threading.Condition()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._waiting: deque[Request] = deque()
        self._engine: Engine | None = None
        self._writing: Writing | None = None
        threading.Thread(target=self._serve, name="compute", daemon=True).start()

    def call(self, work: Callable[[], _T]) -> Future[_T]:
        """Run something on the engine's thread before any further batch: loading it, for one."""
        future: Future[_T] = Future()
        with self._changed:
            self._calls.append((work, future))
            self._changed.notify()
        return future

    def use(self, engine: Engine) -> None:
        """Compute with this engine from now on."""
        self._engine = engine
        if isinstance(engine, Writes):
            self._writing = Writing(
                engine,
                clock=self._clock,
                log=self._log,
                measured=self._measured,
                tokens_max=self._fit.tokens,
                room_max=self._room_max,
            )

    def submit(self, work: Work, *, expires_ms: int, sink: Sink | None = None) -> Future[Computed]:
        """Have a request computed. Cancelling the future drops those of its items that are in no batch yet.

        The sink is told of what is done before the end.

        The future raises:
            UnavailableError: its time passed before its turn came; it was not run.
            InputError: an item is at fault.
            Exception: what the engine raised for its items alone.
        """
        request = Request(work=work, expires_ms=expires_ms, queued_ms=self._clock.monotonic_ms(), sink=sink)
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()
        return request.future

    def _serve(self) -> None:
        while True:
            # What has arrived and is not read yet goes with the next batch, instead of waiting for its end.
            end_turn()
            with self._changed:
                self._changed.wait_for(lambda: self._calls or self._waiting or self._is_writing())
                call = self._calls.popleft() if self._calls else None
                runs = self._writing.admit(self._waiting) if self._writing and not call else []
                batch = [] if call or self._writing else list(self._next_batch())
            if call:
                _run_call(*call)
            elif self._writing:
                self._write(self._writing, runs)
            elif batch:
                self._run(batch)

    def _is_writing(self) -> bool:
        return self._writing is not None and self._writing.is_busy

    def _write(self, writing: Writing, runs: Sequence[Run]) -> None:
        try:
            writing.turn(runs)
        except BrokenDeviceError as exc:
            self._give_up(writing.requests, exc)

    def _next_batch(self) -> Iterator[tuple[Request, int]]:
        """Take one item of each request in turn until the batch is full or nobody has any more."""
        tokens = squares = 0
        while self._waiting:
            request = self._waiting[0]
            if self._is_dropped(request):
                self._waiting.popleft()
                continue
            length = request.work.items[request.taken].length
            ms_max = self._batch_ms_max * (_FURTHER if request.taken else 1)
            if tokens and not self._fits(tokens + length, squares + length**2, ms_max):
                return
            tokens, squares = tokens + length, squares + length**2
            yield request, request.taken
            request.taken += 1
            self._waiting.popleft()
            if request.taken < len(request.work.items):
                self._waiting.append(request)

    def _is_dropped(self, request: Request) -> bool:
        """Leave out a request that nobody waits for any more, and one whose time passed before it began."""
        if request.future.done():
            return True
        if request.started_ms is not None or self._clock.now_ms() < request.expires_ms:
            return False
        request.fail_expired()
        return True

    def _fits(self, tokens: int, squares: int, ms_max: float) -> bool:
        return tokens <= self._fit.tokens and self._costs.predict_ms(tokens=tokens, squares=squares) <= ms_max

    def _run(self, batch: _Batch) -> None:
        """Compute a batch; divide it when it does not fit, or to find the item that is at fault."""
        began_ms = self._clock.monotonic_ms()
        for request, _ in batch:
            request.count(began_ms=began_ms, share_ms=0, batch_items=0)
        if divide := self._try(batch, began_ms):
            divide(batch)

    def _try(self, batch: _Batch, began_ms: float) -> Callable[[_Batch], None] | None:
        """Compute a batch, or return how to divide it. The memory that the failed one held is free by then."""
        try:
            rows = self._compute([request.work.items[place] for request, place in batch])
        except OutOfMemoryError as exc:
            let_go(exc)
            return self._run_in_halves
        except BrokenDeviceError as exc:
            self._give_up([request for request, _ in batch], exc)
        except Exception as exc:
            if len({request for request, _ in batch}) > 1:
                let_go(exc)
                return self._run_apart
            # Whatever it is: a batch that only logged it would leave its request waiting for ever.
            batch[0][0].fail(exc)
        else:
            self._keep(batch, rows, began_ms)
        return None

    def _compute(self, items: Sequence[Item]) -> Sequence[Any]:
        assert self._engine is not None  # nothing is submitted before `use`
        with contained():
            return self._engine.compute(items)

    def _run_in_halves(self, batch: _Batch) -> None:
        """Make do with smaller batches from now on; the requests do not notice."""
        tokens = sum(request.work.items[place].length for request, place in batch)
        self._fit.refused(tokens)
        self._log.warning("batch.out_of_memory", items=len(batch), tokens=tokens, tokens_max=self._fit.tokens)
        self._measured.split(tokens_max=self._fit.tokens)
        if len(batch) == 1:
            batch[0][0].fail(InputError(f"one input of {tokens} tokens is more than this worker has memory for"))
            return
        middle = len(batch) // 2
        self._run(batch[:middle])
        self._run(batch[middle:])

    def _run_apart(self, batch: _Batch) -> None:
        """Find the request that spoils a batch by halving it, so that every other one is answered."""
        requests = list(dict.fromkeys(request for request, _ in batch))
        first = set(requests[: len(requests) // 2])
        self._run([(request, place) for request, place in batch if request in first])
        self._run([(request, place) for request, place in batch if request not in first])

    def _keep(self, batch: _Batch, rows: Sequence[Any], began_ms: float) -> None:
        ms = self._clock.monotonic_ms() - began_ms
        lengths = [request.work.items[place].length for request, place in batch]
        tokens = sum(lengths)
        self._fit.fitted(tokens)
        self._measured.batch(items=len(batch), tokens=tokens, tokens_max=self._fit.tokens)
        self._costs.observe(tokens=tokens, squares=sum(length**2 for length in lengths), ms=ms)
        for (request, place), row, length in zip(batch, rows, lengths, strict=True):
            request.rows[place] = row
            request.count(began_ms=began_ms, share_ms=ms * length / max(tokens, 1), batch_items=len(batch))
        for request in dict.fromkeys(request for request, _ in batch):
            _tell(request)

    def _give_up(self, requests: Sequence[Request], exc: BrokenDeviceError) -> None:
        """Tell everybody who waits: another worker may take their job, and this one is about to end."""
        self._log.error("device.broken", exc)
        with self._changed:
            waiting, self._waiting = list(self._waiting), deque()
        for request in dict.fromkeys([*requests, *waiting]):
            request.fail(UnavailableError("the worker's device failed; another worker takes the job"))
        self._on_broken()


def _run_call(work: Callable[[], Any], future: Future[Any]) -> None:
    try:
        future.set_result(work())
    except Exception as exc:
        future.set_exception(exc)


def _tell(request: Request) -> None:
    """Finish a request all of whose rows are there; of any other, say how far it is."""
    done, total = len(request.rows), len(request.work.items)
    if request.sink is not None and done < total:
        request.sink.progress(done, total)
    if done == total:
        request.finish()
