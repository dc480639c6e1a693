"""Continuous batching: texts that are written token by token, together, each from when it comes to when it ends.

Before each step those who wait join as far as there is room for their keys and values, counted as if each were to
write all that it may; so nobody who has begun is sent away for a newcomer. One that fails, or runs out of memory,
fails alone: the others are written again from their prompts if they must be, and nobody gets a part twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from worker.batching.fit import Fit
from worker.batching.request import Request
from worker.clock import Clock
from worker.engine import Item, Writes, Written
from worker.errors import BrokenDeviceError, InputError, OutOfMemoryError, UnavailableError, contained, let_go
from worker.log import EventLog
from worker.usage.measured import Measured


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """One item that is written, or waits to be written again."""

    request: Request
    place: int
    told: int = 0
    """Characters that the request's sink has had; after a new beginning they are not told again."""
    written: int = 0
    """Characters since the last beginning."""
    apart: bool = False
    """Whether it begins by itself, for it was among those of whom one failed."""
    alone: bool = False
    """Whether nobody may be written beside it, for the same reason."""

    @property
    def item(self) -> Item:
        """Its item."""
        return self.request.items[self.place]


class Writing:
    """Decides who is written together. It belongs to the compute thread.

    Args:
        engine: writes.
        clock: measures, and says when a request has expired.
        log: gets what went wrong.
        measured: counts the steps.
        tokens_max: of the prompts that begin together.
        room_max: of the prompts and all that may be written to them, in tokens; less where memory does not hold it.
    """

    def __init__(
        self, engine: Writes, *, clock: Clock, log: EventLog, measured: Measured, tokens_max: int, room_max: int
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._log = log
        self._measured = measured
        self._tokens_max = tokens_max
        self._fit = Fit(room_max)
        self._running: dict[int, Run] = {}
        self._again: deque[Run] = deque()

    @property
    def is_busy(self) -> bool:
        """Whether there is anything to do but for newcomers."""
        return bool(self._running or self._again)

    @property
    def requests(self) -> list[Request]:
        """Everybody who is inside."""
        return list(dict.fromkeys(run.request for run in (*self._running.values(), *self._again)))

    def admit(self, waiting: deque[Request]) -> list[Run]:
        """Take those who may begin now, first those who have to begin again."""
        taken: list[Run] = []
        for run in self._candidates(waiting):
            if not self._may_join(run, taken):
                self._again.appendleft(run)
                break
            taken.append(run)
        return taken

    def turn(self, newcomers: Sequence[Run]) -> None:
        """Let newcomers begin, and write one token to everybody.

        Raises:
            BrokenDeviceError: the process has to end.
        """
        self._drop_gone()
        if self._running:
            self._step()
        if newcomers:
            self._begin(newcomers)

    def _candidates(self, waiting: deque[Request]) -> Iterator[Run]:
        while self._again:
            run = self._again.popleft()
            if not self._is_gone(run.request):
                yield run
        while waiting:
            request = waiting.popleft()
            if self._is_gone(request):
                continue
            request.taken += 1
            if request.taken < len(request.items):
                waiting.append(request)  # in turns: one text goes with the next, however many another request has
            yield Run(request=request, place=request.taken - 1)

    def _may_join(self, run: Run, taken: Sequence[Run]) -> bool:
        company = [*self._running.values(), *taken]
        if not company:
            return True
        if run.alone or any(other.alone for other in company) or (taken and (run.apart or taken[-1].apart)):
            return False
        prompts = sum(other.item.length for other in (*taken, run))
        return self._room([*company, run]) <= self._fit.tokens and (not taken or prompts <= self._tokens_max)

    def _room(self, runs: Iterable[Run]) -> int:
        return sum(self._engine.room(run.item) for run in runs)

    def _is_gone(self, request: Request) -> bool:
        """Leave out a request that nobody waits for any more, or whose time has passed."""
        if request.future.done():
            return True
        if self._clock.now_ms() < request.expires_ms:
            return False
        if request.started_ms is None:
            request.fail_expired()
        else:
            request.fail(UnavailableError("the job's time passed while it was written"))
        return True

    def _drop_gone(self) -> None:
        self._drop([run for run in self._running.values() if self._is_gone(run.request)])

    def _drop(self, runs: Sequence[Run]) -> None:
        if runs:
            self._engine.drop([run.item for run in runs])
            for run in runs:
                del self._running[id(run.item)]

    def _begin(self, newcomers: Sequence[Run]) -> None:
        began_ms = self._clock.monotonic_ms()
        for run in newcomers:
            run.request.count(began_ms=began_ms, share_ms=0, batch_items=0)
        try:
            with contained():
                written = self._engine.begin([run.item for run in newcomers])
        except OutOfMemoryError as exc:
            let_go(exc)
            self._make_room(newcomers, kept=list(self._running.values()))
        except BrokenDeviceError:
            self._again.extendleft(reversed(newcomers))
            raise
        except Exception as exc:
            self._part(newcomers, exc)
        else:
            self._running.update({id(run.item): run for run in newcomers})
            self._keep(written, began_ms)

    def _step(self) -> None:
        began_ms = self._clock.monotonic_ms()
        runs = list(self._running.values())
        try:
            with contained():
                written = self._engine.step()
        except OutOfMemoryError as exc:
            let_go(exc)
            newest = runs[len(runs) // 2 :]
            self._drop(newest)
            self._make_room(newest, kept=runs[: len(runs) // 2])
        except BrokenDeviceError:
            raise
        except Exception as exc:
            self._drop(runs)
            self._part(runs, exc, alone=True)
        else:
            self._keep(written, began_ms)

    def _make_room(self, runs: Sequence[Run], *, kept: Sequence[Run]) -> None:
        """Let some begin again when others have ended, and let fewer be written together from now on."""
        tokens = self._room(runs)
        self._fit.refused(tokens + self._room(kept))
        self._log.warning(
            "writing.out_of_memory", items=len(runs), beside=len(kept), tokens=tokens, tokens_max=self._fit.tokens
        )
        self._measured.split(tokens_max=self._fit.tokens)
        if len(runs) == 1 and not kept:
            runs[0].request.fail(
                InputError(f"a prompt and its answer of {tokens} tokens are more than this worker has memory for")
            )
            return
        self._begin_again(runs)

    def _part(self, runs: Sequence[Run], exc: Exception, *, alone: bool = False) -> None:
        """Find the one that is at fault by beginning each by itself; by then it is known."""
        if len(runs) == 1:
            runs[0].request.fail(exc)
            return
        for run in runs:
            run.apart, run.alone = True, run.alone or alone
        self._begin_again(runs)

    def _begin_again(self, runs: Sequence[Run]) -> None:
        for run in runs:
            run.written = 0
        self._again.extendleft(reversed(runs))

    def _keep(self, written: Sequence[Written], began_ms: float) -> None:
        share_ms = (self._clock.monotonic_ms() - began_ms) / max(len(written), 1)
        if any(one.row is not None for one in written):
            self._fit.fitted(self._room(self._running.values()))
        self._measured.batch(items=len(written), tokens=len(written), tokens_max=self._fit.tokens)
        for one in written:
            run = self._running[id(one.item)]
            run.request.count(began_ms=began_ms, share_ms=share_ms, batch_items=len(written))
            _tell(run, one.text)
            if one.row is not None:
                del self._running[id(one.item)]
                _end(run, one)


def _tell(run: Run, text: str) -> None:
    """Give a request's sink what it has not had. Several texts in one stream could not be told apart."""
    before, run.written = run.written, run.written + len(text)
    if run.written > run.told:
        new = text[max(0, run.told - before) :]
        run.told = run.written
        if run.request.sink is not None and len(run.request.items) == 1:
            run.request.sink.part(new)


def _end(run: Run, one: Written) -> None:
    request = run.request
    request.rows[run.place] = one.row
    request.tokens_written += one.tokens
    if len(request.rows) == len(request.items):
        request.finish()
    elif request.sink is not None:
        request.sink.progress(len(request.rows), len(request.items))
