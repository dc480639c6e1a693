"""Attention on the CPU by plain products in bfloat16, at the speed that the processor has for them.

torch's own kernel multiplies small pieces in float32, in one call for each length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engines.packed.attention import Attend, GroupedAttention
from worker.engines.packed.blocks import SHARED_LENGTHS, Blocks, Chunk
from worker.engines.packed.layout import Layout

_LENGTH_MAX = 512
"""All scores of a sequence are in memory at once."""
_SCORES_MAX = 1 << 19
"""Of blocks that are multiplied together, so that they are still in the cache when they are read again."""
_SUM_MIN, _SUM_MAX = 2.0**-100, 2.0**120
"""While a token's weights add up to a number between them, none is infinite, and none that counts is 0."""


class ProductAttention:
    """Runs the sequences of a batch in blocks. CPU and bfloat16.

    A softmax first subtracts the largest score, so that no power is too large for a number. Scores are far from that,
    and to look for it is one more pass over all of them; here it is left out. Where a sum tells that it was needed,
    the batch is done again with it.
    """

    def __init__(self, heads: int, width: int) -> None:
        self._heads, self._width = heads, width
        self._grouped = GroupedAttention(heads, padded_length_max=0)

    def prepare(self, layout: Layout, dtype: torch.dtype, device: torch.device) -> Attend:
        """Lay the sequences in blocks, and return what attends in them."""
        is_one_short = len(layout.lengths) == 1 and layout.lengths[0] <= SHARED_LENGTHS[0]
        if is_one_short or layout.lengths[0] > _LENGTH_MAX:
            return self._grouped.prepare(layout, dtype, device)
        blocks = Blocks.of(layout, dtype, areas_max=_SCORES_MAX // self._heads)
        room = _Room.for_chunks(blocks.chunks, self._heads, self._width, dtype)

        def attend(qkv: Tensor) -> Tensor:
            first = 0
            for chunk in blocks.chunks:
                room.attend(qkv, chunk, first)
                first += chunk.rows
            if not room.is_right():
                return self._grouped.prepare(layout, dtype, device)(qkv)
            return room.attended.index_select(0, blocks.places)

        return attend


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """What chunks are computed in, one after another, so that what is between is in the cache.

    Beside `sums` and `attended`, each is flat and as large as the largest chunk needs it.
    """

    heads: int
    width: int
    rows: Tensor
    """Queries, keys and values as the batch has them: (blocks, length, 3, heads, size of a head)."""
    parts: Tensor
    """The same, as products want them: (3, blocks, heads, length, size of a head)."""
    weights: Tensor
    """(blocks, heads, length, length)."""
    values: Tensor
    """What the weights make of them: (blocks, heads, length, size of a head)."""
    sums: Tensor
    """(rows of all chunks · heads): of each token's weights."""
    attended: Tensor
    """(rows of all chunks, width)."""

    @classmethod
    def for_chunks(cls, chunks: tuple[Chunk, ...], heads: int, width: int, dtype: torch.dtype) -> _Room:
        rows, most = sum(chunk.rows for chunk in chunks), max(chunk.rows for chunk in chunks)
        return cls(
            heads=heads,
            width=width,
            rows=torch.empty(most * 3 * width, dtype=dtype),
            parts=torch.empty(most * 3 * width, dtype=dtype),
            weights=torch.empty(heads * max(chunk.rows * chunk.length for chunk in chunks), dtype=dtype),
            values=torch.empty(most * width, dtype=dtype),
            sums=torch.empty(rows * heads, dtype=dtype),
            attended=torch.empty(rows, width, dtype=dtype),
        )

    def attend(self, qkv: Tensor, chunk: Chunk, first: int) -> None:
        """Attend in a chunk, whose rows come behind `first` others."""
        heads, size, blocks, length = self.heads, self.width // self.heads, chunk.blocks, chunk.length
        rows = self.rows[: chunk.rows * 3 * self.width]
        torch.index_select(qkv, 0, chunk.sources, out=rows.view(chunk.rows, -1))
        parts = self.parts[: rows.numel()].view(3, blocks, heads, length, size)
        parts.copy_(rows.view(blocks, length, 3, heads, size).permute(2, 0, 3, 1, 4))
        query, key, value = parts.view(3, -1, length, size).unbind(0)

        weights = self.weights[: heads * chunk.rows * length].view(-1, length, length)
        # Powers of 2 take a sixth less time than powers of e.
        scale = math.log2(math.e) / math.sqrt(size)
        torch.baddbmm(weights, query, key.transpose(1, 2), beta=0, alpha=scale, out=weights)
        torch.exp2(weights, out=weights)
        _leave_own(weights.view(blocks, heads, length, length), chunk)

        values = self.values[: chunk.rows * self.width].view(-1, length, size)
        sums = self.sums[first * heads : (first + chunk.rows) * heads].view(-1, length, 1)
        torch.sum(weights, -1, keepdim=True, out=sums)
        torch.bmm(weights, value, out=values)
        values.div_(sums)
        attended = self.attended[first : first + chunk.rows].view(blocks, length, heads, size)
        attended.copy_(values.view(blocks, heads, length, size).transpose(1, 2))

    def is_right(self) -> bool:
        """Tell whether no weight was too large or too small for a number."""
        least, most = (float(bound) for bound in self.sums.aminmax())
        return _SUM_MIN < least <= most < _SUM_MAX  # which nothing is that is no number


def _leave_own(weights: Tensor, chunk: Chunk) -> None:
    """Take the weights of what is not a row's own sequence away."""
    if chunk.keep is not None:
        weights.mul_(chunk.keep)
        return
    for block, end in enumerate(chunk.ends):
        if end < chunk.length:
            weights[block, :, :, end:].zero_()
