"""The arithmetic of a comparison."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Spread, cosine, quantile, ratios

RATES = st.lists(st.floats(min_value=0.1, max_value=1e6), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        pytest.param(0.0, 1, id="the least"),
        pytest.param(0.5, 50, id="p50"),
        pytest.param(0.99, 99, id="p99"),
        pytest.param(1.0, 100, id="the most"),
    ],
)
def test_a_quantile_is_one_of_the_values(part: float, expected: float) -> None:
    """Of a hundred values p99 is the last but one: nothing is made up between two."""
    assert quantile(list(range(100, 0, -1)), part) == expected


@given(rates=RATES, factor=st.floats(min_value=0.5, max_value=4))
def test_a_noise_that_slows_both_of_a_round_leaves_the_ratio(rates: list[float], factor: float) -> None:
    """That is why rounds are paired: the ratio of medians would not have this."""
    found = ratios([factor * rate for rate in rates], rates)

    assert (found.least, found.median, found.most) == pytest.approx((factor, factor, factor))


@given(values=RATES)
def test_a_median_lies_between_the_least_and_the_most(values: list[float]) -> None:
    spread = Spread.of(values)

    assert spread.least <= spread.median <= spread.most


def test_rounds_that_one_did_not_run_are_not_paired() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        pytest.param([2.0, 4.0], 1.0, id="longer"),
        pytest.param([-1.0, -2.0], -1.0, id="opposite"),
        pytest.param([-2.0, 1.0], 0.0, id="at a right angle"),
        pytest.param([0.0, 0.0], 0.0, id="nothing"),
        pytest.param([1.0, 2.0, 0.0], 0.0, id="of another length"),
    ],
)
def test_cosine_tells_how_much_two_vectors_agree(other: list[float], expected: float) -> None:
    assert cosine([1.0, 2.0], other) == pytest.approx(expected)
