"""Which ways of attending an encoder has on a device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from worker.engines.packed import names
from worker.engines.packed.attention import Attention, GroupedAttention, VarlenAttention
from worker.engines.packed.bias import RelativeBias
from worker.engines.packed.graphs import Replayable
from worker.engines.packed.layout import lay_out
from worker.engines.packed.padded import PaddedAttention
from worker.engines.packed.products import ProductAttention
from worker.engines.packed.shapes import Shape
from worker.engines.packed.weights import Weights

_PADDED_LENGTH_MAX_CPU = 0
"""Measured: to gather sequences of like length costs what they gain by sharing a call. Those of one length share."""
_PADDED_LENGTH_MAX_CUDA = 1 << 20
"""Any: there each call is a launch, and launches are what a small batch waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What an encoder computes on, and in what."""

    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How an encoder attends."""

    attention: Attention
    """In a batch that is launched."""
    replayed: Replayable | None = None
    """In one that is replayed, where any is."""


def ways_to_attend(weights: Weights, shape: Shape, where: Where) -> Ways:
    """Return the fastest ways for an encoder; raises as `PackedEncoder.load` does."""
    bias = _bias(weights, shape)
    grouped = _grouped(shape, bias, where)
    if where.device.type != "cuda":
        is_short = bias is None and where.dtype == torch.bfloat16
        return Ways(attention=ProductAttention(shape.heads, shape.width) if is_short else grouped)
    varlen = VarlenAttention(shape.heads)
    if bias is None and where.dtype != torch.float32 and _agree(varlen, grouped, shape, where):
        return Ways(attention=varlen, replayed=varlen)
    return Ways(attention=grouped, replayed=PaddedAttention(shape.heads, bias=bias))


def plain_way_to_attend(weights: Weights, shape: Shape, where: Where) -> Ways:
    """Return the way of an encoder that runs but once; raises as `ways_to_attend`."""
    return Ways(attention=_grouped(shape, _bias(weights, shape), where))


def _bias(weights: Weights, shape: Shape) -> RelativeBias | None:
    if not shape.buckets:
        return None
    return RelativeBias(weights.encoder(f"{names.RELATIVE_BIAS}.weight", (shape.buckets, shape.heads)))


def _grouped(shape: Shape, bias: RelativeBias | None, where: Where) -> GroupedAttention:
    most = _PADDED_LENGTH_MAX_CPU if where.device.type == "cpu" else _PADDED_LENGTH_MAX_CUDA
    return GroupedAttention(shape.heads, padded_length_max=most, bias=bias)


def _agree(one: Attention, other: Attention, shape: Shape, where: Where) -> bool:
    """Tell whether two ways give the same on a device; one that cannot run at all does not."""
    layout = lay_out([min(length, shape.tokens_max) for length in (1, 7, 33, 130)], rounded=False)
    generator = torch.Generator().manual_seed(7)
    qkv = torch.randn(layout.rows, 3 * shape.width, generator=generator).to(where.device, where.dtype)
    try:
        made, expected = (way.prepare(layout, where.dtype, where.device)(qkv).float() for way in (one, other))
    except (ImportError, NotImplementedError, RuntimeError, TypeError, ValueError):
        # The kernel is not in every build of torch, nor for every card.
        return False
    return torch.allclose(made, expected, rtol=0.05, atol=0.02)
