"""The bias of MPNet's attention: how far apart two tokens are, in buckets that widen with the distance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_DISTANCE_MAX = 128
"""All that are farther share a bucket."""


class RelativeBias:
    """A learned number for each head and bucket."""

    def __init__(self, table: Tensor) -> None:
        """Take the learned table, (buckets, heads)."""
        self._table = table.float()

    def matrix(self, length: int) -> Tensor:
        """Return what is added to the scores of sequences up to a length: (heads, length, length)."""
        distances = torch.arange(1 - length, length)
        by_distance = self._table[bucket(distances, len(self._table))].T.contiguous()
        # Row i, column j is the distance j - i: each row is the one before it, moved by one.
        return by_distance.unfold(1, length, 1).flip(1)


def bucket(distance: Tensor, buckets: int) -> Tensor:
    """Return the bucket of a key's distance from its query: one half for each direction, exact at first, then log."""
    half = buckets // 2
    exact = half // 2
    far = distance.abs()
    scaled = torch.log(far.float() / exact) / math.log(_DISTANCE_MAX / exact) * (half - exact)
    # The logarithm of 0 is no number; those places take the exact bucket.
    wide = (exact + scaled.clamp(min=0).long()).clamp(max=half - 1)
    return (distance > 0).long() * half + torch.where(far < exact, far, wide)
