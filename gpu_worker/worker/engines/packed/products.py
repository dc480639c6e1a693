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

_LENGTH_MIN = 80
"""Measured: for shorter ones the calls take longer than what they gain."""
_LENGTH_MAX = 768
"""All scores of a sequence are in memory at once."""
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
        rows = layout.starts[count]
        made = torch.zeros(layout.rows, self._width, dtype=dtype)
        sums = torch.empty(rows * self._heads, dtype=dtype)
        sequences = self._sequences(layout, count, made, sums)
        others = self._grouped.prepare(_behind(layout, count), dtype, device) if rows < layout.tokens else None

        def attend(qkv: Tensor) -> Tensor:
            for sequence in sequences:
                sequence.attend(qkv)
            least, most = sums.aminmax()
            if not _SUM_MIN < float(least) <= float(most) < _SUM_MAX:  # so is no comparison with what is no number
                return self._grouped.prepare(layout, dtype, device)(qkv)
            if others is not None:
                made[rows:] = others(qkv[rows:])
            return made

        return attend

    def _sequences(self, layout: Layout, count: int, made: Tensor, sums: Tensor) -> list[_Sequence]:
        """Return the first ones. They run one after another, so they share what is between."""
        heads, size, longest = self._heads, self._width // self._heads, layout.lengths[0]
        scores, values = made.new_empty(heads * longest**2), made.new_empty(longest * self._width)
        return [
            _Sequence(
                first=first,
                scores=scores[: heads * length**2].view(heads, length, length),
                sums=sums.narrow(0, first * heads, length * heads).view(heads, length, 1),
                values=values[: length * self._width].view(heads, length, size),
                made=made.narrow(0, first, length).view(length, heads, size).transpose(0, 1),
            )
            for first, length in zip(layout.starts[:count], layout.lengths[:count], strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sequence:
    """One sequence, and where its numbers go, by heads and tokens."""

    first: int
    """Row of the first token."""
    scores: Tensor
    """(heads, length, length)."""
    sums: Tensor
    """(heads, length, 1): of each token's weights."""
    values: Tensor
    """(heads, length, size of a head)."""
    made: Tensor
    """The same, in the batch's rows."""

    def attend(self, qkv: Tensor) -> None:
        heads, length, size = self.values.shape
        query, key, value = qkv.narrow(0, self.first, length).view(length, 3, heads, size).permute(1, 2, 0, 3)
        # Powers of 2 take a sixth less time than powers of e.
        scale = math.log2(math.e) / math.sqrt(size)
        torch.baddbmm(self.scores, query, key.transpose(1, 2), beta=0, alpha=scale, out=self.scores)
        torch.exp2(self.scores, out=self.scores)
        torch.sum(self.scores, -1, keepdim=True, out=self.sums)
        torch.bmm(self.scores, value, out=self.values)
        torch.div(self.values, self.sums, out=self.made)


def _behind(layout: Layout, place: int) -> Layout:
    """Return the layout of the sequences from a place on."""
    first = layout.starts[place]
    starts = tuple(start - first for start in layout.starts[place:])
    return Layout(order=layout.order[place:], lengths=layout.lengths[place:], starts=starts, rows=layout.rows - first)
