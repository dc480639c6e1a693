"""How sequences of a batch lie in blocks: short ones share some, and those of one length are computed together."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engines.packed.layout import Layout

SHARED_LENGTHS = (32, 64)
"""Of the blocks that short sequences share. In shorter ones products take no less time."""
_STEP = 16
"""Lengths of the others are rounded up to this, so that some have the same. To 32 costs more than it gives."""

Block = list[int]
"""The places of its sequences, which lie side by side from its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Blocks of one length that are computed together."""

    first: int
    """Of its rows, which lie behind those of the chunks before it."""
    blocks: int
    length: int
    sources: Tensor
    """(rows): which row of the batch is there; any of the block's own where its sequences have ended."""
    keep: Tensor | None
    """(blocks, 1, length, length): 1 where a row may see another, else 0. Of shared blocks."""
    ends: tuple[int, ...]
    """Where the sequence of each block ends. Of blocks that are not shared."""

    @property
    def rows(self) -> int:
        """Return the rows of its blocks."""
        return self.blocks * self.length

    def own(self) -> Tensor:
        """Return whether a row may see another, (blocks, 1, length, length) or what fits it."""
        if self.keep is not None:
            return self.keep.bool()
        return (torch.arange(self.length) < torch.tensor(self.ends)[:, None])[:, None, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """A batch in blocks."""

    chunks: tuple[Chunk, ...]
    places: Tensor
    """(rows of the batch): where each is; any where nobody reads it."""

    @classmethod
    def of(cls, layout: Layout, dtype: torch.dtype, *, areas_max: int) -> Blocks:
        """Lay a batch in blocks.

        Args:
            layout: of the batch.
            dtype: of the chunks' `keep`.
            areas_max: the squared lengths of a chunk's blocks add up to no more, unless it has but one.
        """
        chunks: list[Chunk] = []
        first, places = 0, torch.zeros(layout.rows, dtype=torch.int64)
        for length, alike in _divided(_filled(layout.lengths), areas_max):
            sources, owners = _laid(alike, length, layout)
            is_shared = length <= SHARED_LENGTHS[-1]
            chunks.append(
                Chunk(
                    first=first,
                    blocks=len(alike),
                    length=length,
                    sources=sources,
                    keep=_same(owners.view(-1, 1, length), dtype) if is_shared else None,
                    ends=() if is_shared else tuple(layout.lengths[block[0]] for block in alike),
                )
            )
            is_there = owners >= 0
            places[sources[is_there]] = is_there.nonzero().flatten() + first
            first += len(sources)
        return cls(chunks=tuple(chunks), places=places)


def _laid(alike: list[Block], length: int, layout: Layout) -> tuple[Tensor, Tensor]:
    """Return the row of the batch and the place of the sequence for each row of blocks; -1 is none."""
    sources, owners = array("i"), array("i")
    for number, block in enumerate(alike, 1):
        for place in block:
            rows = range(layout.starts[place], layout.starts[place + 1])
            sources.extend(rows)
            owners.extend([place] * len(rows))
        idle = number * length - len(sources)
        sources.extend([layout.starts[block[0]]] * idle)
        owners.extend([-1] * idle)
    return torch.frombuffer(sources, dtype=torch.int32), torch.frombuffer(owners, dtype=torch.int32)


def _filled(lengths: Sequence[int]) -> dict[int, list[Block]]:
    """Return the blocks by their length. A short sequence goes into the first that has room, longest first."""
    blocks: dict[int, list[Block]] = {}
    open_: list[tuple[int, Block]] = []
    for place, length in enumerate(lengths):
        if length > SHARED_LENGTHS[-1]:
            blocks.setdefault(-(-length // _STEP) * _STEP, []).append([place])
            continue
        at = next((at for at, (room, _) in enumerate(open_) if room >= length), None)
        if at is None:
            size = next(size for size in SHARED_LENGTHS if size >= length)
            room, block = size, Block()
            blocks.setdefault(size, []).append(block)
        else:
            room, block = open_.pop(at)
        block.append(place)
        if room - length >= lengths[-1]:
            open_.append((room - length, block))
    return blocks


def _divided(blocks: dict[int, list[Block]], areas_max: int) -> Iterator[tuple[int, list[Block]]]:
    """Divide those of a length by powers of two, so that products are of few different sizes."""
    for length, alike in blocks.items():
        most = max(1, areas_max // length**2)
        first = 0
        while first < len(alike):
            count = 1 << min(most, len(alike) - first).bit_length() - 1
            yield length, alike[first : first + count]
            first += count


def _same(owners: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what `Chunk.keep` is for the sequences that rows are of, (blocks, 1, length); -1 is none."""
    # What such a row attends to is not read. But it is divided by the sum of its weights, which should not be 0.
    asking = torch.where(owners < 0, owners[:, :, :1], owners).transpose(1, 2)
    return (asking == owners)[:, None].to(dtype)
