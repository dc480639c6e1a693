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
class Numbers:
    """What the rows of a layout are looked up by: places in the tables, (rows) each, and there is such a place."""

    ids: Tensor
    positions: Tensor
    types: Tensor | None
    """None is type 0 everywhere."""

    def to(self, device: torch.device) -> Numbers:
        """Return the same numbers on a device."""
        types = None if self.types is None else self.types.to(device)
        return Numbers(ids=self.ids.to(device), positions=self.positions.to(device), types=types)


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

    def read(self, layout: Layout, sequences: Sequence[Sequence[int]], type_ids: TypeIds) -> Numbers:
        """Return the numbers of a layout's rows, on the CPU.

        Raises:
            ValueError: an id is not in its table.
        """
        ids = _within(flat(sequences, layout), self.words, "token id")
        types = None
        if self.types is not None and type_ids is not None:
            types = _within(flat(type_ids, layout), self.types, "token type")
        return Numbers(ids=ids, positions=layout.positions(ids, self.padding_id), types=types)

    def __call__(self, numbers: Numbers) -> Tensor:
        """Return the hidden states of rows, (rows, width), in the norm's dtype; all on the tables' device."""
        hidden = _rows(self.words, numbers.ids)
        # In the order of the library, for sums of floating-point numbers depend on it.
        if self.types is not None:
            hidden = hidden + (self.types[:1].float() if numbers.types is None else _rows(self.types, numbers.types))
        return self.norm(hidden + _rows(self.positions, numbers.positions))


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
