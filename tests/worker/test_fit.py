"""The largest batch that fits is learned, and forgotten when it may no longer be true."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.batching.fit import Fit


def settle(fit: Fit, memory_tokens: int, batches: int) -> int:
    """Run batches as large as may be, and return how many did not fit."""
    refused = 0
    for _ in range(batches):
        tokens = fit.tokens
        if tokens > memory_tokens:
            refused += 1
            fit.refused(tokens)
        else:
            fit.fitted(tokens)
    return refused


@given(st.integers(10, 8_192))
def test_it_comes_near_to_what_fits_and_stays_there(memory_tokens: int) -> None:
    fit = Fit(8_192)
    refused = settle(fit, memory_tokens, 500)

    assert memory_tokens / 1.2 - 1 <= fit.tokens <= memory_tokens
    assert refused <= 14
    assert settle(fit, memory_tokens, 500) == 0


def test_memory_that_was_somebody_elses_is_used_again() -> None:
    fit = Fit(8_192)
    settle(fit, 1_000, 500)
    settle(fit, 100_000, 3_000)

    assert fit.tokens == 8_192


def test_small_batches_say_nothing_about_large_ones() -> None:
    fit = Fit(8_192)
    fit.refused(8_192)
    for _ in range(1_000):
        fit.fitted(100)

    assert fit.tokens == 4_096


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 10_000)), max_size=200))
def test_it_is_never_more_than_the_owner_allows_nor_less_than_one(steps: list[tuple[bool, int]]) -> None:
    fit = Fit(5_000)
    for fits, tokens in steps:
        (fit.fitted if fits else fit.refused)(tokens)
        assert 1 <= fit.tokens <= 5_000
