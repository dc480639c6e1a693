"""The heads: logits for each sequence, or for each token. They are small, and are computed in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from worker.engines.packed import names
from worker.engines.packed.encoder import Packed
from worker.engines.packed.pooling import pool
from worker.engines.packed.shapes import Shape
from worker.engines.packed.weights import Weights
from worker.folder import Pooling

_Affine = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceHead:
    """Classifies each sequence by its first token. A reranker is one with a single label, on pairs."""

    dense: _Affine
    activate: Callable[[Tensor], Tensor]
    out: _Affine

    @classmethod
    def load(cls, folder: Path, shape: Shape, *, device: torch.device | str) -> SequenceHead:
        """Read the head of a folder's model.

        Raises:
            ModelError: a weight is missing or of another shape.
        """
        weights = _open(folder, shape)
        called = names.head_names(shape.family)
        dense = _affine(weights, called.dense, (shape.width, shape.width), device, encoder=called.dense_in_encoder)
        out = _affine(weights, called.out, (len(shape.labels), shape.width), device)
        return cls(dense=dense, activate=torch.relu if called.relu else torch.tanh, out=out)

    @torch.inference_mode()
    def logits(self, packed: Packed) -> Tensor:
        """Return the logits of each sequence, in the order in which they were given: (sequences, labels), float32."""
        first = pool(packed, Pooling.CLS)
        return functional.linear(self.activate(functional.linear(first, *self.dense)), *self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenHead:
    """Classifies each token."""

    out: _Affine

    @classmethod
    def load(cls, folder: Path, shape: Shape, *, device: torch.device | str) -> TokenHead:
        """Read the head of a folder's model; raises as `SequenceHead.load` does."""
        return cls(out=_affine(_open(folder, shape), names.CLASSIFIER, (len(shape.labels), shape.width), device))

    @torch.inference_mode()
    def logits(self, packed: Packed) -> list[Tensor]:
        """Return the logits of each sequence's tokens, in the order in which they were given: (tokens, labels)."""
        return packed.split(functional.linear(packed.hidden.float(), *self.out))


def _open(folder: Path, shape: Shape) -> Weights:
    return Weights.open(folder, prefix=names.encoder_names(shape.family).prefix)


def _affine(
    weights: Weights, name: str, shape: tuple[int, int], device: torch.device | str, *, encoder: bool = False
) -> _Affine:
    read = weights.encoder if encoder else weights.head
    weight, bias = read(f"{name}.weight", shape), read(f"{name}.bias", shape[:1])
    return weight.to(device, torch.float32), bias.to(device, torch.float32)
