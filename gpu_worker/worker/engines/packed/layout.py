"""How the sequences of a batch lie side by side: longest first, so that those of like length are neighbours."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where each sequence of a batch is."""

    order: tuple[int, ...]
    """For each place, which of the given sequences is there."""
    lengths: tuple[int, ...]
    """Tokens of the sequence at each place, most first."""
    starts: tuple[int, ...]
    """The first row of each place, and the number of tokens at the end."""
    rows: int
    """Rows of the packed tensors: all tokens, and some at the end that nobody reads."""

    @property
    def tokens(self) -> int:
        """Return the tokens of all sequences."""
        return self.starts[-1]

    def positions(self, ids: Tensor, padding_id: int | None) -> Tensor:
        """Return the row of the position table for each row: counted from 0, or from behind the padding token.

        Counted from behind it, a padding token within a text has its own position and is not counted.
        """
        rows = torch.arange(self.rows)
        starts, lengths = torch.tensor(self.starts[:-1]), torch.tensor(self.lengths)
        begins = starts.repeat_interleave(lengths)
        if padding_id is None:
            rows[: self.tokens] -= begins
            rows[self.tokens :] = 0
            return rows
        real = (ids[: self.tokens] != padding_id).long()
        before = real.cumsum(0) - real
        rows[: self.tokens] = (before - before[begins] + 1) * real + padding_id
        rows[self.tokens :] = padding_id
        return rows


def lay_out(lengths: Sequence[int], *, rounded: bool) -> Layout:
    """Lay sequences side by side.

    Args:
        lengths: of the sequences, 1 or more each; there is at least one.
        rounded: whether to add rows so that few different numbers of rows occur.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    ordered = tuple(lengths[index] for index in order)
    starts = tuple(accumulate(ordered, initial=0))
    rows = _rounded(starts[-1]) if rounded else starts[-1]
    return Layout(order=tuple(order), lengths=ordered, starts=starts, rows=rows)


def _rounded(tokens: int) -> int:
    # oneDNN makes a kernel for each number of rows it has not met, in a millisecond for each layer's shape: as long
    # as the product itself for a short text. It keeps about a thousand.
    step = 16 if tokens <= 512 else 32 if tokens <= 1024 else 64 if tokens <= 4096 else 128
    return -(-tokens // step) * step


def flat(sequences: Sequence[Sequence[int]], layout: Layout) -> Tensor:
    """Return the numbers of the sequences in the layout's order, with zeros on the rows that nobody reads."""
    numbers: Iterable[int] = chain.from_iterable(sequences[index] for index in layout.order)
    filled = array("q", chain(numbers, [0] * (layout.rows - layout.tokens)))
    return torch.frombuffer(filled, dtype=torch.int64)
