"""Attention by products in bfloat16: what torch's kernel gives, for sequences of any lengths."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from worker.engines.packed.attention import Attention, GroupedAttention
from worker.engines.packed.layout import Layout, lay_out
from worker.engines.packed.products import ProductAttention

HEADS, WIDTH = 4, 32
CPU = torch.device("cpu")

lengths = st.lists(st.integers(1, 12) | st.integers(20, 70) | st.integers(80, 140), min_size=1, max_size=12)


def attended(attention: Attention, layout: Layout, qkv: Tensor) -> Tensor:
    attend = attention.prepare(layout, torch.bfloat16, CPU)
    attend(torch.full_like(qkv, torch.nan))  # what a layer leaves must not be seen by the next
    return attend(qkv).float()


def both(layout: Layout, qkv: Tensor) -> tuple[Tensor, Tensor]:
    plain = GroupedAttention(HEADS, padded_length_max=0)
    return attended(ProductAttention(HEADS, WIDTH), layout, qkv), attended(plain, layout, qkv)


def rows(layout: Layout, largest: float = 1.0) -> Tensor:
    made = torch.randn(layout.rows, 3 * WIDTH, generator=torch.Generator().manual_seed(7))
    made[:, : 2 * WIDTH] *= largest
    return made.bfloat16()


@settings(deadline=None, max_examples=30)
@given(mixture=lengths)
def test_products_give_what_the_kernel_gives_in_any_mixture_of_lengths(mixture: list[int]) -> None:
    """Long ones have blocks of their own, short ones share some, and behind all are rows that nobody reads."""
    layout = lay_out(mixture, rounded=True)

    made, expected = both(layout, rows(layout))

    read = slice(layout.tokens)
    assert torch.allclose(made[read], expected[read], rtol=0.02, atol=0.01)
    assert made.isfinite().all()  # for what is not a number is slow, even where nobody reads it


def test_scores_that_no_power_can_hold_are_computed_the_safe_way() -> None:
    """Whatever a model's scores are, an answer is right: leaving out the largest one is for those that allow it."""
    layout = lay_out([100, 90, 30, 3], rounded=True)

    made, expected = both(layout, rows(layout, largest=20.0))

    read = slice(layout.tokens)
    assert torch.allclose(made[read], expected[read], rtol=0.02, atol=0.01)
    assert made.isfinite().all()


def test_weights_that_all_vanish_are_computed_the_safe_way() -> None:
    """Where every score is far below zero, all powers are 0, and so is what they would be divided by."""
    layout = lay_out([100, 30, 3], rounded=True)
    qkv = rows(layout)
    qkv[:, :WIDTH], qkv[:, WIDTH : 2 * WIDTH] = 10.0, -10.0

    made, expected = both(layout, qkv)

    read = slice(layout.tokens)
    assert torch.allclose(made[read], expected[read], rtol=0.02, atol=0.01)
    assert made.isfinite().all()


def test_a_sequence_whose_scores_would_not_fit_into_memory_is_left_to_the_kernel() -> None:
    """The kernel never has all scores of a sequence in memory."""
    layout = lay_out([800, 100], rounded=True)

    made, expected = both(layout, rows(layout))

    assert torch.equal(made, expected)
