"""A batch is bounded by its padded tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.engines.general import batches

LENGTHS = st.lists(st.integers(1, 600), max_size=200)


@given(LENGTHS, st.integers(1, 2_000))
def test_every_input_is_in_one_batch(lengths: list[int], tokens_max: int) -> None:
    plan = batches.plan(lengths, tokens_max=tokens_max)

    assert sorted(index for batch in plan for index in batch) == list(range(len(lengths)))


@given(LENGTHS, st.integers(1, 2_000))
def test_no_batch_is_over_the_budget_unless_one_input_is(lengths: list[int], tokens_max: int) -> None:
    for batch in batches.plan(lengths, tokens_max=tokens_max):
        padded = len(batch) * max(lengths[index] for index in batch)

        assert padded <= tokens_max or len(batch) == 1


def test_one_long_input_does_not_pad_the_short_ones() -> None:
    """In the order of arrival, each batch would be as wide as its longest text."""
    assert batches.plan([2, 100, 2, 2], tokens_max=100) == [[1], [0, 2, 3]]
