"""One block of an encoder: attention and two linear layers, each with its residual and its norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from worker.engines.packed.attention import Attend
from worker.engines.packed.linear import Linear, MakeLinear
from worker.engines.packed.names import Names
from worker.engines.packed.shapes import Shape
from worker.engines.packed.weights import Weights

Place = Callable[[Tensor], Tensor]
"""Moves a weight to the device and the dtype that it is used in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """A layer norm over the last dimension."""

    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the rows, normed."""
        return functional.layer_norm(rows, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A block. Its rows are tokens, and only `attend` knows which of them belong together."""

    qkv: Linear
    """Queries, keys and values in one product."""
    attended: Linear
    attended_norm: Norm
    up: Linear
    down: Linear
    down_norm: Norm

    def __call__(self, hidden: Tensor, attend: Attend) -> Tensor:
        """Return the next hidden states, (rows, width)."""
        hidden = self.attended_norm(self.attended(attend(self.qkv(hidden)), residual=hidden))
        return self.down_norm(self.down(self.up(hidden), residual=hidden))


def load_layer(
    weights: Weights, names: Names, shape: Shape, index: int, *, place: Place, make_linear: MakeLinear
) -> Layer:
    """Read the block of an index.

    Raises:
        ModelError: a weight is missing or of another shape.
    """
    at = names.layer.format(index)
    wide, inner = shape.width, shape.inner

    def pair(name: str, outputs: int, inputs: int) -> tuple[Tensor, Tensor]:
        weight = weights.encoder(f"{at}{name}.weight", (outputs, inputs))
        return place(weight), place(weights.encoder(f"{at}{name}.bias", (outputs,)))

    parts = [pair(name, wide, wide) for name in (names.query, names.key, names.value)]
    return Layer(
        qkv=make_linear(torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts])),
        attended=make_linear(*pair(names.attended, wide, wide)),
        attended_norm=load_norm(weights, at + names.attended_norm, shape, place),
        up=make_linear(*pair(names.up, inner, wide), shape.activation),
        down=make_linear(*pair(names.down, wide, inner)),
        down_norm=load_norm(weights, at + names.down_norm, shape, place),
    )


def load_norm(weights: Weights, name: str, shape: Shape, place: Place) -> Norm:
    """Read a layer norm of the encoder's width; raises as `load_layer` does."""
    weight, bias = (weights.encoder(f"{name}.{part}", (shape.width,)) for part in ("weight", "bias"))
    return Norm(weight=place(weight), bias=place(bias), eps=shape.norm_eps)
