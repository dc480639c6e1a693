"""Requests that wait together run together, in turns, within a budget; and one bad item fails alone."""

from __future__ import annotations

import io
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from gate import wire
from tests.worker.makers import NOON_MS, FakeClock
from worker.batching import batcher
from worker.batching.batcher import Batcher
from worker.batching.request import Computed
from worker.engine import Item, Work
from worker.errors import BrokenDeviceError, InputError, OutOfMemoryError, UnavailableError
from worker.log import EventLog

LATER_MS = NOON_MS + 60_000


class CircularError(OutOfMemoryError):
    """Holds itself, as an error does in Python 3.12 that went through a context manager."""

    def __init__(self) -> None:
        self.itself = self


class _Tensor:
    """What a batch takes of the device's memory while it is computed."""


class GatedEngine:
    """Answers each item with itself, remembers its batches, and computes only when it is let."""

    def __init__(self, *, clock: FakeClock, memory_tokens: int = 10**9, ms_per_token: int = 0) -> None:
        self.clock, self.ms_per_token = clock, ms_per_token
        self.batches: list[list[Any]] = []
        self.entered, self.gate = threading.Event(), threading.Event()
        self.memory_tokens = memory_tokens
        self.still_held: list[int] = []
        """For each batch, how many of those before it have not given back what they took."""
        self._tensors: weakref.WeakSet[_Tensor] = weakref.WeakSet()

    def import_libraries(self) -> None:
        pass

    def load(self) -> None:
        pass

    def prepare(self, body: wire.WorkBody) -> Work:
        raise NotImplementedError

    def compute(self, items: Sequence[Item]) -> Sequence[Any]:
        self.entered.set()
        assert self.gate.wait(20)
        self.clock.ms += self.ms_per_token * sum(item.length for item in items)
        payloads = [item.payload for item in items]
        self.batches.append(payloads)
        self.still_held.append(len(self._tensors))
        activations = _Tensor()
        self._tensors.add(activations)
        if "broken" in payloads:
            raise BrokenDeviceError("an illegal access")
        if sum(item.length for item in items) > self.memory_tokens:
            raise CircularError
        if "bad" in payloads:
            raise ValueError("bad")
        return payloads


class Held:
    """A batcher whose engine is busy with one item, so that all that is submitted meanwhile waits together."""

    def __init__(
        self,
        *,
        tokens_max: int = 1_000,
        memory_tokens: int = 10**9,
        ms_per_token: int = 0,
        batch_ms_max: int = 10**9,
    ) -> None:
        self.clock = FakeClock()
        self.engine = GatedEngine(clock=self.clock, memory_tokens=memory_tokens, ms_per_token=ms_per_token)
        self.broken = threading.Event()
        self.batcher = Batcher(
            clock=self.clock,
            log=EventLog(io.StringIO()),
            tokens_max=tokens_max,
            batch_ms_max=batch_ms_max,
            on_broken=self.broken.set,
        )
        self.batcher.use(self.engine)
        self.first = self.submit(["first"])
        assert self.engine.entered.wait(20)

    def submit(self, payloads: Sequence[Any], *, length: int = 10, expires_ms: int = LATER_MS) -> Future[Computed]:
        items = [Item(length=length, payload=payload) for payload in payloads]
        return self.batcher.submit(Work(items=items, finish=list), expires_ms=expires_ms)

    def learn(self) -> None:
        """Let the engine show what it takes, and hold it again."""
        self.let_go()
        for length in (500, 200, 800, 100):
            self.submit(["lesson"], length=length).result(20)
        self.engine.batches.clear()
        self.engine.gate.clear()
        self.engine.entered.clear()
        self.first = self.submit(["first"])
        assert self.engine.entered.wait(20)

    def let_go(self) -> list[list[Any]]:
        """Let the engine compute, wait for the first item, and return the batches after it."""
        self.engine.gate.set()
        self.first.result(20)
        return self.engine.batches


def test_an_idle_engine_computes_at_once() -> None:
    """A lone request waits for nobody."""
    held = Held()
    held.let_go()

    assert held.submit(["alone"]).result(20).rows == ["alone"]


def test_what_others_hand_in_at_the_end_of_a_turn_goes_with_the_next_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads requests on the same core reads all that are there before the next batch is taken."""
    held = Held()
    unread, handed_in = ["read"], [held.submit(["waiting"])]

    def read() -> None:
        handed_in.extend(held.submit([unread.pop()]) for _ in list(unread))

    monkeypatch.setattr(batcher, "end_turn", read)
    held.let_go()
    handed_in[0].result(20)

    assert held.engine.batches[1] == ["waiting", "read"]


def test_requests_that_wait_together_run_together() -> None:
    held = Held()
    futures = [held.submit([f"r{number}"]) for number in range(5)]
    batches = held.let_go()

    assert [future.result(20).rows for future in futures] == [[f"r{number}"] for number in range(5)]
    assert batches[1:] == [["r0", "r1", "r2", "r3", "r4"]]


def test_a_batch_is_bounded_by_tokens_not_by_count() -> None:
    """Memory goes with tokens."""
    held = Held(tokens_max=100)
    futures = [held.submit([number], length=40) for number in range(5)]
    batches = held.let_go()

    assert [future.result(20).rows for future in futures] == [[0], [1], [2], [3], [4]]
    assert batches[1:] == [[0, 1], [2, 3], [4]]


def test_an_item_over_the_budget_runs_alone() -> None:
    held = Held(tokens_max=100)
    future = held.submit(["long"], length=5_000)
    held.let_go()

    assert future.result(20).rows == ["long"]


def test_a_small_request_goes_with_the_next_batch_however_long_the_one_before_it() -> None:
    """Fair: items are taken in turns."""
    held = Held(tokens_max=100)
    long = held.submit([f"long{number}" for number in range(50)])
    small = held.submit(["small"])
    batches = held.let_go()

    assert small.result(20).rows == ["small"]
    assert long.result(20).rows == [f"long{number}" for number in range(50)]
    assert "small" in batches[1]


def test_those_who_wait_for_their_first_turn_share_all_of_a_batchs_time() -> None:
    """Together they take less time than one after the other."""
    held = Held(tokens_max=10_000, ms_per_token=1, batch_ms_max=1_050)
    held.learn()
    futures = [held.submit([number], length=100) for number in range(14)]
    batches = held.let_go()

    assert [future.result(20).rows for future in futures] == [[number] for number in range(14)]
    assert [len(batch) for batch in batches[1:]] == [10, 4]


def test_further_items_of_a_list_leave_most_of_a_batchs_time_to_others() -> None:
    """Whoever comes next waits for less than half as long as a batch may take."""
    held = Held(tokens_max=10_000, ms_per_token=1, batch_ms_max=1_050)
    held.learn()
    long = held.submit([f"long{number}" for number in range(8)], length=100)
    others = [held.submit([number], length=100) for number in range(6)]
    batches = held.let_go()

    assert long.result(20).rows == [f"long{number}" for number in range(8)]
    assert [future.result(20).rows for future in others] == [[number] for number in range(6)]
    assert [len(batch) for batch in batches[1:]] == [7, 4, 3]
    assert batches[1] == ["long0", *range(6)]


def test_one_bad_item_fails_its_own_request_alone() -> None:
    """Everyone who came with it is answered."""
    held = Held()
    good = [held.submit([f"good{number}"]) for number in range(6)]
    bad = held.submit(["fine", "bad"])
    more = [held.submit([f"more{number}"]) for number in range(6)]
    held.let_go()

    assert [future.result(20).rows[0] for future in [*good, *more]] == [
        *(f"good{number}" for number in range(6)),
        *(f"more{number}" for number in range(6)),
    ]
    with pytest.raises(ValueError, match="bad"):
        bad.result(20)


def test_running_out_of_memory_halves_the_batch_and_fails_nobody() -> None:
    held = Held(memory_tokens=45)
    futures = [held.submit([number]) for number in range(16)]
    held.let_go()

    assert [future.result(20).rows for future in futures] == [[number] for number in range(16)]


def test_what_a_failed_batch_held_is_free_again_before_its_halves_run() -> None:
    """An error holds its frames, and these the tensors: halves that run while it is handled do not fit either."""
    held = Held(memory_tokens=45)
    futures = [held.submit([number]) for number in range(16)]
    held.let_go()

    assert [future.result(20).rows for future in futures] == [[number] for number in range(16)]
    assert set(held.engine.still_held) == {0}


def test_the_largest_batch_that_fits_is_learned() -> None:
    """After one failure, later batches are small enough from the start."""
    held = Held(memory_tokens=45)
    held.let_go()
    held.submit(list(range(16))).result(20)
    held.engine.batches.clear()
    held.submit(list(range(16))).result(20)

    assert max(len(batch) for batch in held.engine.batches) <= 4


def test_an_item_that_does_not_fit_at_all_is_refused_clearly() -> None:
    held = Held(memory_tokens=45)
    future = held.submit(["huge"], length=500)
    held.let_go()

    with pytest.raises(InputError, match="500 tokens"):
        future.result(20)


def test_a_request_whose_time_passes_while_it_waits_is_not_run() -> None:
    held = Held()
    late = held.submit(["late"], expires_ms=NOON_MS + 5_000)
    held.clock.ms = 5_000
    batches = held.let_go()

    with pytest.raises(UnavailableError):
        late.result(20)
    assert ["late"] not in batches


def test_a_request_whose_caller_is_gone_is_not_run() -> None:
    held = Held()
    gone, there = held.submit(["gone"]), held.submit(["there"])
    assert gone.cancel()
    batches = held.let_go()

    assert there.result(20).rows == ["there"]
    assert batches[1:] == [["there"]]


def test_what_is_left_of_a_list_whose_caller_is_gone_is_not_run() -> None:
    """A list of two thousand texts would keep the engine busy, and be paid, for nobody."""
    held = Held(tokens_max=20)
    gone = held.submit(list(range(6)))
    there = held.submit(["there"])
    computing = held.engine.compute

    def compute(items: Sequence[Item]) -> Sequence[Any]:
        if any(item.payload == 0 for item in items):
            assert gone.cancel()
        return computing(items)

    held.engine.compute = compute  # type: ignore[method-assign]  # its caller leaves during the first batch
    batches = held.let_go()

    assert there.result(20).rows == ["there"]
    assert held.submit(["later"]).result(20).rows == ["later"]
    assert batches[1:] == [[0, "there"], ["later"]]


def test_a_request_that_did_not_fit_into_a_batch_may_still_be_given_up() -> None:
    """It was looked at, and nothing of it was run."""
    held = Held(tokens_max=20)
    there, gone = held.submit(["there"]), held.submit(["gone"], length=15)
    computing = held.engine.compute

    def compute(items: Sequence[Item]) -> Sequence[Any]:
        if items[0].payload == "there":
            assert gone.cancel()
        return computing(items)

    held.engine.compute = compute  # type: ignore[method-assign]  # its caller leaves while the first batch runs
    held.let_go()

    assert there.result(20).rows == ["there"]
    assert held.submit(["later"]).result(20).rows == ["later"]
    assert ["gone"] not in held.engine.batches


def test_a_broken_device_tells_everybody_who_waits_and_ends_the_worker() -> None:
    """Nobody is left without an answer, and the host can replace the process."""
    held = Held()
    futures = [held.submit(["broken"]), *(held.submit([number]) for number in range(3))]
    held.let_go()

    for future in futures:
        with pytest.raises(UnavailableError):
            future.result(20)
    assert held.broken.wait(20)


def test_shares_of_a_batch_add_up_to_its_time() -> None:
    """What jobs are told that they took is what the engine was busy."""
    held = Held()
    futures = [held.submit(["a"], length=10), held.submit(["b"], length=30)]
    held.clock.ms = 100
    held.first.add_done_callback(lambda _: None)
    slow = held.engine.compute

    def compute(items: Sequence[Item]) -> Sequence[Any]:
        held.clock.ms += 40
        return slow(items)

    held.engine.compute = compute  # type: ignore[method-assign]  # time passes while it computes
    held.let_go()

    assert [future.result(20).compute_ms for future in futures] == [10, 30]
