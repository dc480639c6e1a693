"""The cost model learns what batches take, whatever the machine is like."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.batching.cost import CostModel


def test_nothing_is_predicted_before_anything_ran() -> None:
    assert CostModel().predict_ms(tokens=1_000, squares=10**6) == 0


@given(
    constant=st.floats(0.5, 20), by_token=st.floats(0.005, 0.5), by_square=st.floats(0, 2e-5), seed=st.integers(0, 99)
)
def test_it_learns_a_machine_from_what_it_sees(constant: float, by_token: float, by_square: float, seed: int) -> None:
    """Within a few per cent on batches like those that it saw."""
    random_ = random.Random(seed)
    model = CostModel()
    batches = [[random_.randint(5, 200) for _ in range(random_.randint(1, 40))] for _ in range(200)]

    def ms(lengths: list[int]) -> float:
        return constant + by_token * sum(lengths) + by_square * sum(length**2 for length in lengths)

    for lengths in batches:
        model.observe(tokens=sum(lengths), squares=sum(length**2 for length in lengths), ms=ms(lengths))

    for lengths in batches[:5]:
        predicted = model.predict_ms(tokens=sum(lengths), squares=sum(length**2 for length in lengths))
        assert predicted == pytest.approx(ms(lengths), rel=0.1, abs=0.5)


@given(st.lists(st.tuples(st.integers(1, 9_000), st.floats(0.1, 5_000)), min_size=1, max_size=30))
def test_more_work_is_never_predicted_to_take_less(seen: list[tuple[int, float]]) -> None:
    """However odd the measurements are."""
    model = CostModel()
    for tokens, ms in seen:
        model.observe(tokens=tokens, squares=tokens * 50, ms=ms)

    assert model.predict_ms(tokens=2_000, squares=10**5) >= model.predict_ms(tokens=1_000, squares=10**5) >= 0


def test_it_notices_when_the_machine_becomes_slower() -> None:
    """The past is forgotten."""
    model = CostModel()
    for ms_per_token in (0.01, 0.05):
        for tokens in [500, 1_000, 1_500] * 100:
            model.observe(tokens=tokens, squares=tokens * 100, ms=tokens * ms_per_token)

    assert model.predict_ms(tokens=1_000, squares=100_000) == pytest.approx(50, rel=0.1)


def test_a_batch_that_was_held_up_does_not_make_the_next_ones_small() -> None:
    """A process that a host freezes in the middle of a batch would run item by item for minutes after it."""
    model = CostModel()
    for tokens in (500, 1_000, 1_500):
        model.observe(tokens=tokens, squares=tokens * 100, ms=tokens * 0.1)

    model.observe(tokens=1_000, squares=100_000, ms=600_000)

    assert model.predict_ms(tokens=1_000, squares=100_000) < 200
