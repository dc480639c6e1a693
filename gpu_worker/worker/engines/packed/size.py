"""The sizes that batches are rounded up to where each size is prepared once: rows, sequences, and the longest."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from worker.engines.packed.layout import Layout

_ROWS = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
"""Above, a card is busy for longer than its launches take."""
_SEQUENCES = (1, 8, 32, 128, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What is prepared, and has room for every layout that is no larger in any of these."""

    rows: int
    sequences: int
    longest: int
    """Rows of the longest sequence."""

    @classmethod
    def of(cls, layout: Layout, longest: Sequence[int]) -> Size | None:
        """Return the least size that a layout fits into, or None if there is none.

        Args:
            layout: of a batch.
            longest: the lengths that its longest sequence is rounded up to.
        """
        rows, sequences = _least(_ROWS, layout.rows), _least(_SEQUENCES, len(layout.lengths))
        least = _least(longest, layout.lengths[0])
        if rows is None or sequences is None or least is None:
            return None
        return cls(rows=rows, sequences=sequences, longest=least)


def _least(sizes: Sequence[int], wanted: int) -> int | None:
    at = bisect_left(sizes, wanted)
    return sizes[at] if at < len(sizes) else None
