"""Attention on the CPU by plain products in bfloat16, at the speed that the processor has for them.

torch's own kernel multiplies small pieces in float32, in one call for each length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

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
    torch's kernel does those blocks.
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
            for chunk in blocks.chunks:
                room.attend(qkv, chunk)
            if not _are_right(room.sums):
                for chunk in blocks.chunks:
                    if not _are_right(room.sums_of(chunk)):
                        room.attend_safely(qkv, chunk)
            return room.attended.index_select(0, blocks.places)

        return attend


def _are_right(sums: Tensor) -> bool:
    least, most = (float(bound) for bound in sums.aminmax())
    return _SUM_MIN < least <= most < _SUM_MAX  # which nothing is that is no number


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """What chunks are computed in, one after another, so that what is between is in the cache.

    But for `sums` and `attended`, each is flat and as large as the largest chunk needs it.
    """

    heads: int
    rows: Tensor
    """Queries, keys and values as the batch has them: (blocks, length, 3, heads, size of a head)."""
    parts: Tensor
    """The same, as products want them: (3, blocks, heads, length, size of a head)."""
    weights: Tensor
    """(blocks, heads, length, length)."""
    values: Tensor
    """What the weights make of the values: (blocks, heads, length, size of a head)."""
    sums: Tensor
    """(rows of all chunks · heads): of each token's weights."""
    attended: Tensor
    """(rows of all chunks, width)."""

    @classmethod
    def for_chunks(cls, chunks: tuple[Chunk, ...], heads: int, width: int, dtype: torch.dtype) -> _Room:
        rows, most = sum(chunk.rows for chunk in chunks), max(chunk.rows for chunk in chunks)
        return cls(
            heads=heads,
            rows=torch.empty(most * 3 * width, dtype=dtype),
            parts=torch.empty(most * 3 * width, dtype=dtype),
            weights=torch.empty(heads * max(chunk.rows * chunk.length for chunk in chunks), dtype=dtype),
            values=torch.empty(most * width, dtype=dtype),
            sums=torch.empty(rows * heads, dtype=dtype),
            attended=torch.empty(rows, width, dtype=dtype),
        )

    def attend(self, qkv: Tensor, chunk: Chunk) -> None:
        """Attend in a chunk by products, whatever comes of it."""
        parts = self._read(qkv, chunk)
        _, blocks, heads, length, size = parts.shape
        query, key, value = parts.flatten(1, 2)
        weights = self.weights[: blocks * heads * length**2].view(-1, length, length)
        # Powers of 2 take a sixth less time than powers of e.
        scale = math.log2(math.e) / math.sqrt(size)
        torch.baddbmm(weights, query, key.transpose(1, 2), beta=0, alpha=scale, out=weights)
        torch.exp2(weights, out=weights)
        _leave_own(weights.view(blocks, heads, length, length), chunk)
        sums = self.sums_of(chunk).view(-1, length, 1)
        torch.sum(weights, -1, keepdim=True, out=sums)
        values = self.values[: blocks * heads * length * size].view(-1, length, size)
        torch.bmm(weights, value, out=values)
        self._write(values.div_(sums).view(blocks, heads, length, size), chunk)

    def attend_safely(self, qkv: Tensor, chunk: Chunk) -> None:
        """Attend in a chunk by torch's kernel, whatever the scores are."""
        query, key, value = self._read(qkv, chunk).float()
        self._write(functional.scaled_dot_product_attention(query, key, value, attn_mask=chunk.own()), chunk)

    def sums_of(self, chunk: Chunk) -> Tensor:
        """Return the sums of a chunk's weights."""
        return self.sums[chunk.first * self.heads : (chunk.first + chunk.rows) * self.heads]

    def _read(self, qkv: Tensor, chunk: Chunk) -> Tensor:
        """Return queries, keys and values of a chunk, (3, blocks, heads, length, size of a head)."""
        # Whole rows first, since they are no longer in the cache, and then by heads.
        rows = self.rows[: chunk.rows * qkv.shape[1]].view(chunk.rows, -1)
        torch.index_select(qkv, 0, chunk.sources, out=rows)
        by_head = rows.view(chunk.blocks, chunk.length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.parts[: rows.numel()].view(by_head.shape).copy_(by_head)

    def _write(self, made: Tensor, chunk: Chunk) -> None:
        """Leave what a chunk attended to, (blocks, heads, length, size of a head), in its rows."""
        by_row = made.transpose(1, 2)
        self.attended[chunk.first : chunk.first + chunk.rows].view(by_row.shape).copy_(by_row)


def _leave_own(weights: Tensor, chunk: Chunk) -> None:
    """Take the weights of what is not a row's own sequence away."""
    if chunk.keep is not None:
        weights.mul_(chunk.keep)
        return
    for block, end in enumerate(chunk.ends):
        if end < chunk.length:
            weights[block, :, :, end:].zero_()
