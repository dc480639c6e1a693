"""Attention of sequences that lie side by side: each sees itself alone.

On the CPU, and wherever there is a bias, sequences go through torch's attention in groups of like length. Where the
device has a kernel for sequences of any lengths (flash attention on CUDA), all go through it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from worker.engines.packed.bias import RelativeBias
from worker.engines.packed.layout import Layout
from worker.engines.packed.size import Size

Attend = Callable[[Tensor], Tensor]
"""From queries, keys and values, (rows, 3 · width), to what was attended to, (rows, width)."""

_STEP = 16
"""Lengths are rounded up to this to share a group; kernels work in blocks of it in any case."""


class Attention(Protocol):
    """A way of attending; prepared once for each batch and used in every layer."""

    def prepare(self, layout: Layout, dtype: torch.dtype, device: torch.device) -> Attend:
        """Return what attends within the sequences of a layout."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Neighbours of one length, or of like length and padded to the longest."""

    first: int
    """Row of the first token."""
    rows: int
    """Rows of all its tokens."""
    count: int
    length: int
    gather: Tensor | None
    """Where its sequences differ in length: the row for each token of each sequence once padded."""
    keep: Tensor | None
    """And which of the padded tokens are real."""
    mask: Tensor | None
    """What is added to the scores: padding, bias, or both; it fits (count, heads, length, length)."""


class GroupedAttention:
    """Runs groups of sequences of like length, each in one call."""

    def __init__(self, heads: int, *, padded_length_max: int, bias: RelativeBias | None = None) -> None:
        """Up to `padded_length_max` tokens, sequences of like length are padded to share a call."""
        self._heads, self._bias, self._padded_length_max = heads, bias, padded_length_max

    def prepare(self, layout: Layout, dtype: torch.dtype, device: torch.device) -> Attend:
        """Divide the places into groups, and return what attends in each of them."""
        dtype = torch.float32 if device.type == "cpu" else dtype  # what `_attend` computes in
        bias = None if self._bias is None else self._bias.matrix(layout.lengths[0]).to(device, dtype)
        groups = [
            _group(layout, places, bias, dtype, device)
            for places in neighbours(layout.lengths, self._padded_length_max)
        ]
        idle = layout.rows - layout.tokens
        return lambda qkv: _attend(qkv, groups, heads=self._heads, idle=idle)


def neighbours(lengths: tuple[int, ...], padded_length_max: int) -> list[range]:
    """Return the places that share a call: of one length, or, up to a limit, of one length once rounded up."""
    groups: list[range] = []
    for place, length in enumerate(lengths):
        if groups and _rounded(lengths[groups[-1][0]], padded_length_max) == _rounded(length, padded_length_max):
            groups[-1] = range(groups[-1].start, place + 1)
        else:
            groups.append(range(place, place + 1))
    return groups


def _rounded(length: int, padded_length_max: int) -> int:
    return length if length > padded_length_max else -(-length // _STEP) * _STEP


def _group(layout: Layout, places: range, bias: Tensor | None, dtype: torch.dtype, device: torch.device) -> _Group:
    lengths = torch.tensor(layout.lengths[places.start : places.stop])
    longest = int(lengths[0])
    first, end = layout.starts[places.start], layout.starts[places.stop]
    gather = keep = None
    mask = None if bias is None else bias[:, :longest, :longest]
    if int(lengths[-1]) != longest:
        places_within = torch.arange(longest)
        real = places_within < lengths[:, None]
        starts = torch.tensor(layout.starts[places.start : places.stop])
        # Padding reads its own sequence's last token: any number that is finite would do, for the mask hides it.
        gather = (starts[:, None] + places_within.minimum(lengths[:, None] - 1)).flatten().to(device)
        keep = real.flatten().nonzero().flatten().to(device)
        padding = torch.zeros(real.shape, dtype=dtype).masked_fill_(~real, -torch.inf)[:, None, None].to(device)
        mask = padding if mask is None else padding + mask
    elif mask is not None:
        mask = mask[None]
    return _Group(
        first=first, rows=end - first, count=len(places), length=longest, gather=gather, keep=keep, mask=mask
    )


def _attend(qkv: Tensor, groups: list[_Group], *, heads: int, idle: int) -> Tensor:
    # On the CPU torch's kernel is a quarter slower in bfloat16 than in float32, and less exact.
    exact = qkv.float() if qkv.device.type == "cpu" else qkv
    attended = [_attend_group(exact, group, heads) for group in groups]
    if idle:
        # Nobody reads these rows, but the layers compute them, and what is not a number is slow.
        attended.append(exact.new_zeros(idle, qkv.shape[1] // 3))
    return (attended[0] if len(attended) == 1 else torch.cat(attended)).to(qkv.dtype)


def _attend_group(qkv: Tensor, group: _Group, heads: int) -> Tensor:
    rows = qkv.narrow(0, group.first, group.rows) if group.gather is None else qkv.index_select(0, group.gather)
    shape = (group.count, group.length, 3, heads, qkv.shape[1] // 3 // heads)
    query, key, value = rows.view(shape).permute(2, 0, 3, 1, 4)
    made = functional.scaled_dot_product_attention(query, key, value, attn_mask=group.mask)
    made = made.transpose(1, 2).reshape(group.count * group.length, qkv.shape[1] // 3)
    return made if group.keep is None else made.index_select(0, group.keep)


class VarlenAttention:
    """Runs all sequences in one call of the flash kernel, which knows where each begins. CUDA and half precision.

    An `Attention`, and `Replayable` as well: it is all one to the kernel how long a sequence is.
    """

    lengths: Sequence[int] = (128, 512)

    def __init__(self, heads: int) -> None:
        self._heads = heads

    def prepare(self, layout: Layout, dtype: torch.dtype, device: torch.device) -> Attend:  # noqa: ARG002  # the port's
        """Return what attends within the sequences of a layout that has no idle rows."""
        return self._over(torch.tensor(layout.starts, dtype=torch.int32).to(device), layout.lengths[0])

    def fits(self, size: Size) -> bool:  # noqa: ARG002  # the port's
        """See `Replayable.fits`."""
        return True

    def count(self, size: Size) -> int:
        """See `Replayable.count`: where each sequence begins, and where the last one ends."""
        return size.sequences + 1

    def fill(self, numbers: Tensor, layout: Layout, size: Size) -> None:  # noqa: ARG002  # the port's
        """See `Replayable.fill`: sequences that there are not have no rows."""
        begun = len(layout.starts)
        numbers[:begun] = torch.tensor(layout.starts)
        numbers[begun:] = layout.tokens

    def over(self, numbers: Tensor, size: Size, dtype: torch.dtype) -> Attend:  # noqa: ARG002  # the port's
        """See `Replayable.over`."""
        return self._over(numbers, size.longest)

    def _over(self, starts: Tensor, longest: int) -> Attend:
        from torch.nn.attention.varlen import varlen_attn  # an import that only CUDA needs

        def attend(qkv: Tensor) -> Tensor:
            shape = (len(qkv), 3, self._heads, qkv.shape[1] // 3 // self._heads)
            query, key, value = qkv.view(shape).unbind(1)
            made = varlen_attn(query, key, value, starts, starts, longest, longest)
            assert isinstance(made, Tensor)
            return made.reshape(len(qkv), -1)

        return attend
