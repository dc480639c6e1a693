"""The jobs of a worker together pay its whole life: its start, its idle gaps and its busy time, and nothing twice."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.usage.life import Life, Part


@dataclass
class Time:
    """A clock to set."""

    ms: float = 0.0

    def now_ms(self) -> int:
        return round(self.ms)

    def monotonic_ms(self) -> float:
        return self.ms


@dataclass
class Worker:
    """A life with a clock, ready after a start of eight seconds."""

    def __post_init__(self) -> None:
        self.time = Time()
        self.life = Life(self.time)
        self.time.ms = 8_000
        self.life.started(8_000)

    def enter(self, *, after_ms: float = 0) -> float:
        self.time.ms += after_ms
        return self.life.enter()

    def end(self, entered: float, *, after_ms: float) -> Part:
        self.time.ms += after_ms
        return self.life.tell(self.life.leave(entered))


def test_the_first_job_pays_the_start_and_the_wait_for_it() -> None:
    """It is why the worker was started."""
    worker = Worker()

    part = worker.end(worker.enter(after_ms=300), after_ms=1_000)

    assert part == Part(start_ms=8_000, gap_ms=300, share_ms=1_000, life_ms=9_300)


def test_a_later_job_pays_the_gap_that_it_ends() -> None:
    worker = Worker()
    worker.end(worker.enter(), after_ms=1_000)

    part = worker.end(worker.enter(after_ms=4_000), after_ms=200)

    assert part == Part(start_ms=0, gap_ms=4_000, share_ms=200, life_ms=13_200)


def test_jobs_that_run_together_share_the_time() -> None:
    """A second with two inside is half a second for each."""
    worker = Worker()
    first = worker.enter()
    second = worker.enter(after_ms=1_000)

    of_first, of_second = worker.end(first, after_ms=1_000), worker.end(second, after_ms=2_000)

    assert (of_first.share_ms, of_second.share_ms) == (1_500, 2_500)
    assert of_second.life_ms == 12_000


def test_what_a_refused_job_took_is_paid_by_the_next_one() -> None:
    """It pays nothing at hop 1, and somebody has to."""
    worker = Worker()
    entered = worker.enter()
    worker.time.ms += 400
    worker.life.leave_untold(worker.life.leave(entered))

    part = worker.end(worker.enter(after_ms=100), after_ms=1_000)

    assert part == Part(start_ms=8_000, gap_ms=100, share_ms=1_400, life_ms=9_500)


def test_waiting_before_the_start_is_no_gap() -> None:
    """The start is measured from the process's beginning; a job that came too early was refused meanwhile."""
    time = Time()
    life = Life(time)
    time.ms = 3_000
    life.leave_untold(life.leave(life.enter()))
    time.ms = 8_000
    life.started(8_000)

    assert life.tell(life.leave(life.enter())) == Part(start_ms=8_000, gap_ms=0, share_ms=0, life_ms=8_000)


_STEPS = st.lists(st.tuples(st.booleans(), st.floats(0, 5_000)), min_size=1, max_size=60)


@given(steps=_STEPS)
def test_the_parts_add_up_to_the_life(steps: list[tuple[bool, float]]) -> None:
    """To the millisecond, however jobs come and go: else a long life's rounding would be somebody's money."""
    worker = Worker()
    inside: list[float] = []
    parts: list[Part] = []
    for comes, after_ms in steps:
        if comes or not inside:
            inside.append(worker.enter(after_ms=after_ms))
        else:
            parts.append(worker.end(inside.pop(0), after_ms=after_ms))
    parts += [worker.end(entered, after_ms=1.25) for entered in inside]

    paid = sum(part.start_ms + part.gap_ms + part.share_ms for part in parts)
    assert paid == pytest.approx(worker.time.ms, abs=1)
    assert parts[-1].life_ms == paid
    assert all(part.gap_ms >= 0 and part.share_ms >= 0 for part in parts)
