"""Attention of long sequences on the CPU by plain products in bfloat16, at the speed that the processor has for it.

torch's own kernel multiplies small blocks in float32, and takes a quarter to three fifths longer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engines.packed.attention import Attend, GroupedAttention
from worker.engines.packed.layout import Layout

_LENGTH_MIN = 88
"""Measured: for shorter ones the calls take longer than what they gain."""
_LENGTH_MAX = 512
"""All scores of a sequence are in memory at once."""
_STEP = 16
"""Rows are rounded up to this: oneDNN makes kernels for each number of them, in 2 ms and 1.6 MB, and keeps them."""
_SUM_MIN, _SUM_MAX = 2.0**-100, 2.0**120
"""While a token's weights add up to a number between them, none is infinite, and none that counts is 0."""


class ProductAttention:
    """Runs each long sequence by itself, and the shorter ones as `GroupedAttention` does. CPU and bfloat16.

    A softmax first subtracts the largest score, so that no power is too large for a number. Scores are far from that,
    and to look for it is one more pass over all of them; here it is left out. Where a sum tells that it was needed,
    the batch is done again with it.
    """

    def __init__(self, heads: int, width: int) -> None:
        self._heads, self._width = heads, width
        self._grouped = GroupedAttention(heads, padded_length_max=0)

    def prepare(self, layout: Layout, dtype: torch.dtype, device: torch.device) -> Attend:
        """Divide the places into long ones and others, and return what attends in both."""
        count = sum(length >= _LENGTH_MIN for length in layout.lengths)
        if not count or layout.lengths[0] > _LENGTH_MAX:
            return self._grouped.prepare(layout, dtype, device)
        end = layout.starts[count]
        made = torch.zeros(layout.rows, self._width, dtype=dtype)
        sequences = self._sequences(layout, count, made)
        others = self._grouped.prepare(_behind(layout, count), dtype, device) if end < layout.tokens else None

        def attend(qkv: Tensor) -> Tensor:
            for sequence in sequences:
                sequence.attend(qkv)
            if not all(sequence.is_right() for sequence in sequences):
                return self._grouped.prepare(layout, dtype, device)(qkv)
            if others is not None:
                made[end:] = others(qkv[end:])
            return made

        return attend

    def _sequences(self, layout: Layout, count: int, made: Tensor) -> list[_Sequence]:
        """Return the first ones. They run one after another, so they share what is between."""
        longest = _rounded(layout.lengths[0])
        weights = made.new_empty(self._heads * longest**2)
        values = made.new_empty(longest * self._width)
        return [self._sequence(layout, place, made, weights, values) for place in range(count)]

    def _sequence(self, layout: Layout, place: int, made: Tensor, weights: Tensor, values: Tensor) -> _Sequence:
        first, length = layout.starts[place], layout.lengths[place]
        heads, size = self._heads, self._width // self._heads
        rows = min(_rounded(length), layout.rows)
        before = max(0, first + rows - layout.rows)
        own, weights = slice(before, before + length), weights[: heads * rows**2].view(heads, rows, rows)
        return _Sequence(
            first=first - before,
            own=own,
            weights=weights,
            others=[part for part in (weights[:, :, :before], weights[:, :, own.stop :]) if part.numel()],
            sums=made.new_empty(heads, rows, 1),
            values=values[: rows * self._width].view(heads, rows, size),
            made=made.narrow(0, first, length).view(length, heads, size).transpose(0, 1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sequence:
    """One sequence with neighbours that fill its rows up, and where its numbers go, by heads and tokens."""

    first: int
    """Of its rows in the batch."""
    own: slice
    """Those of its rows that are not a neighbour's."""
    weights: Tensor
    """(heads, rows, rows)."""
    others: list[Tensor]
    """Those of the weights that are a neighbour's."""
    sums: Tensor
    """(heads, rows, 1): of each token's weights."""
    values: Tensor
    """(heads, rows, size of a head)."""
    made: Tensor
    """The same, of its own, in the batch's rows."""

    def attend(self, qkv: Tensor) -> None:
        heads, rows, size = self.values.shape
        query, key, value = qkv.narrow(0, self.first, rows).view(rows, 3, heads, size).permute(1, 2, 0, 3)
        # Powers of 2 take a sixth less time than powers of e.
        scale = math.log2(math.e) / math.sqrt(size)
        torch.baddbmm(self.weights, query, key.transpose(1, 2), beta=0, alpha=scale, out=self.weights)
        torch.exp2(self.weights, out=self.weights)
        for others in self.others:
            others.zero_()
        torch.sum(self.weights, -1, keepdim=True, out=self.sums)
        torch.bmm(self.weights, value, out=self.values)
        torch.div(self.values[:, self.own], self.sums[:, self.own], out=self.made)

    def is_right(self) -> bool:
        least, most = (float(bound) for bound in self.sums.aminmax())
        return _SUM_MIN < least <= most < _SUM_MAX  # which nothing is that is no number


def _rounded(length: int) -> int:
    return -(-length // _STEP) * _STEP


def _behind(layout: Layout, place: int) -> Layout:
    """Return the layout of the sequences from a place on."""
    first = layout.starts[place]
    starts = tuple(start - first for start in layout.starts[place:])
    return Layout(order=layout.order[place:], lengths=layout.lengths[place:], starts=starts, rows=layout.rows - first)
