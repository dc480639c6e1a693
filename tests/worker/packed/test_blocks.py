"""Blocks: each sequence lies in one of them, whole, and sees itself alone."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.engines.packed.blocks import SHARED_LENGTHS, Blocks, Chunk
from worker.engines.packed.layout import Layout, lay_out

AREAS_MAX = 4 * 64**2
lengths = st.lists(st.integers(1, 70) | st.integers(1, 300), min_size=1, max_size=40)


def blocks_of(layout: Layout) -> Blocks:
    return Blocks.of(layout, torch.float32, areas_max=AREAS_MAX)


def seen(chunk: Chunk) -> torch.Tensor:
    """Return whether each row sees each other of its block, (blocks, length, length)."""
    return chunk.own()[:, 0].expand(-1, chunk.length, -1)


@settings(deadline=None)
@given(mixture=lengths)
def test_each_token_is_in_one_block_and_sees_its_own_sequence_and_nothing_else(mixture: list[int]) -> None:
    """A row that is missing, there twice or beside a stranger is an answer that is wrong and looks right."""
    layout = lay_out(mixture, rounded=True)
    blocks = blocks_of(layout)
    sequences = torch.arange(len(mixture)).repeat_interleave(torch.tensor(layout.lengths))

    sources = torch.cat([chunk.sources for chunk in blocks.chunks])
    assert torch.equal(sources[blocks.places[: layout.tokens]], torch.arange(layout.tokens).int())

    places = blocks.places[: layout.tokens]
    row, visible = 0, 0
    for chunk in blocks.chunks:
        within = sources[row : row + chunk.rows].view(chunk.blocks, chunk.length)
        real = torch.isin(torch.arange(row, row + chunk.rows), places).view(chunk.blocks, chunk.length)
        owners = sequences[within]
        same = (owners[:, :, None] == owners[:, None, :]) & real[:, None, :]
        assert torch.equal(seen(chunk)[real], same[real])
        assert seen(chunk).any(-1).all()
        row, visible = row + chunk.rows, visible + int(same[real].sum())
    assert visible == sum(length**2 for length in mixture)


@settings(deadline=None)
@given(mixture=lengths)
def test_blocks_of_a_chunk_are_a_power_of_two_and_within_the_limit(mixture: list[int]) -> None:
    """For each number of them that was not met before, oneDNN makes kernels."""
    for chunk in blocks_of(lay_out(mixture, rounded=True)).chunks:
        assert chunk.blocks.bit_count() == 1
        assert chunk.blocks == 1 or chunk.blocks * chunk.length**2 <= AREAS_MAX


def test_short_sequences_share_blocks_where_they_fit() -> None:
    """Each token's score with each other of its block is computed, so rows that are free are paid for."""
    chunks = blocks_of(lay_out([40, 24, 20, 12, 9, 3], rounded=True)).chunks

    assert [(chunk.blocks, chunk.length) for chunk in chunks] == [(1, 64), (2, 32)]


def test_a_long_sequence_has_a_block_of_its_own() -> None:
    """It is hardly longer than the sequence, where scores cost most."""
    (chunk,) = blocks_of(lay_out([SHARED_LENGTHS[-1] + 1], rounded=True)).chunks

    assert (chunk.blocks, chunk.length, chunk.ends) == (1, 80, (65,))
