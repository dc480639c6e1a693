"""The first step of an encoder: from token ids to hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from worker.engines.packed import names
from worker.engines.packed.layer import Norm, load_norm
from worker.engines.packed.layout import Layout, flat
from worker.engines.packed.shapes import Shape
from worker.engines.packed.weights import Weights

TypeIds = Sequence[Sequence[int]] | None
"""Token types, in the shape of the token ids; None is type 0 everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """The tables of words, positions and token types.

    On the CPU they stay in the file: a batch reads the few rows that it needs, and a start reads none.
    """

    words: Tensor
    positions: Tensor
    types: Tensor | None
    norm: Norm
    padding_id: int | None

    def __call__(self, layout: Layout, sequences: Sequence[Sequence[int]], type_ids: TypeIds) -> Tensor:
        """Return the hidden states of a layout's rows, (rows, width), in the norm's dtype.

        Raises:
            ValueError: an id is not in its table.
        """
        device = self.words.device
        ids = _within(flat(sequences, layout), self.words, "token id")
        positions = layout.positions(ids, self.padding_id)
        hidden = _rows(self.words, ids.to(device))
        # In the order of the library, for sums of floating-point numbers depend on it.
        if self.types is not None:
            hidden = hidden + self._typed(layout, type_ids)
        return self.norm(hidden + _rows(self.positions, positions.to(device)))

    def _typed(self, layout: Layout, type_ids: TypeIds) -> Tensor:
        assert self.types is not None
        if type_ids is None:
            return _rows(self.types, torch.zeros(1, dtype=torch.int64, device=self.types.device))
        return _rows(self.types, _within(flat(type_ids, layout), self.types, "token type").to(self.types.device))


def _rows(table: Tensor, ids: Tensor) -> Tensor:
    return functional.embedding(ids, table).float()


def _within(ids: Tensor, table: Tensor, what: str) -> Tensor:
    # On CUDA an index that is out of range breaks the process's context for good.
    if int(ids.min()) < 0 or int(ids.max()) >= len(table):
        raise ValueError(f"a {what} is not within 0 and {len(table) - 1}")
    return ids


def load_embeddings(weights: Weights, shape: Shape, *, device: torch.device, dtype: torch.dtype) -> Embeddings:
    """Read the tables; on a device other than the CPU they are copied, in the dtype given.

    Raises:
        ModelError: a weight is missing or of another shape.
    """

    def table(name: str, rows: int) -> Tensor:
        mapped = weights.encoder(f"{name}.weight", (rows, shape.width))
        return mapped if device.type == "cpu" else mapped.to(device, dtype)

    return Embeddings(
        words=table(names.WORDS, shape.vocabulary),
        positions=table(names.POSITIONS, shape.positions),
        types=table(names.TYPES, shape.types) if shape.types else None,
        norm=load_norm(weights, names.EMBEDDINGS_NORM, shape, lambda tensor: tensor.to(device, torch.float32)),
        padding_id=shape.padding_id,
    )
