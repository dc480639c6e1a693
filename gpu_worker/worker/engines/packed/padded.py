"""Attention whose kernels depend on a batch's size alone: all sequences are padded to the longest, and to a number.

For what the flash kernel does not take: a bias, float32, and cards that are older than it. Only attention is padded;
the linear layers have the rows that there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from worker.engines.packed.attention import Attend
from worker.engines.packed.bias import RelativeBias
from worker.engines.packed.layout import Layout
from worker.engines.packed.size import Size

_ROWS_MAX = 16_384
"""Padded rows; above, what is computed for nobody takes longer than launching groups of like length."""
_BIASES_MAX = 1 << 25
"""A bias is laid out for each sequence: 64 MiB of it in half precision."""


class PaddedAttention:
    """See `Replayable`."""

    lengths: Sequence[int] = (16, 32, 64, 128, 256, 512)

    def __init__(self, heads: int, *, bias: RelativeBias | None = None) -> None:
        self._heads, self._bias = heads, bias
        self._biases: dict[tuple[int, torch.dtype], Tensor] = {}

    def fits(self, size: Size) -> bool:
        """See `Replayable.fits`."""
        if self._bias is not None and size.sequences * self._heads * size.longest**2 > _BIASES_MAX:
            return False
        return size.sequences * size.longest <= _ROWS_MAX

    def count(self, size: Size) -> int:
        """See `Replayable.count`: a row for each padded place, a padded place for each row, and the lengths."""
        return sum(_counts(size))

    def fill(self, numbers: Tensor, layout: Layout, size: Size) -> None:
        """See `Replayable.fill`."""
        gather, keep, lengths = torch.split(numbers, _counts(size))
        longs = torch.tensor(layout.lengths)
        starts = torch.tensor(layout.starts[:-1])
        within = torch.arange(size.longest)
        # Padding reads its own sequence's last token: any number that is finite would do, for the mask hides it.
        padded = starts[:, None] + within.minimum(longs[:, None] - 1)
        gather[: padded.numel()] = padded.flatten()
        owners = torch.arange(len(longs)).repeat_interleave(longs)
        keep[: layout.tokens] = torch.arange(layout.tokens) - starts[owners] + size.longest * owners
        lengths[: len(longs)] = longs

    def over(self, numbers: Tensor, size: Size, dtype: torch.dtype) -> Attend:
        """See `Replayable.over`."""
        gather, keep, lengths = torch.split(numbers, _counts(size))
        shape = (size.sequences, size.longest)
        beyond = torch.arange(size.longest, device=numbers.device) >= lengths[:, None]
        mask = torch.zeros(shape, dtype=dtype, device=numbers.device).masked_fill_(beyond, -torch.inf)[:, None, None]
        if self._bias is not None:
            mask = mask + self._biased(self._bias, size.longest, mask)

        def attend(qkv: Tensor) -> Tensor:
            width = qkv.shape[1] // 3
            rows = qkv.index_select(0, gather).view(*shape, 3, self._heads, width // self._heads)
            query, key, value = rows.permute(2, 0, 3, 1, 4)
            made = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            return made.transpose(1, 2).reshape(-1, width).index_select(0, keep)

        return attend

    def _biased(self, bias: RelativeBias, longest: int, like: Tensor) -> Tensor:
        # Kept, for nothing may come from the host while kernels are recorded.
        made = self._biases.get((longest, like.dtype))
        if made is None:
            made = self._biases[longest, like.dtype] = bias.matrix(longest).to(like.device, like.dtype)
        return made


def _counts(size: Size) -> list[int]:
    return [size.sequences * size.longest, size.rows, size.sequences]
