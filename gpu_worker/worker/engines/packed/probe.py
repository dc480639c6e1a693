"""Which numbers to compute with: measured on this device with this model's shapes, and then held to a standard.

A guess would be wrong somewhere: bf16 is three times as fast as fp32 on CPUs with matrix units, and three times as
slow on those without.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from worker.engines.packed.attention import GroupedAttention
from worker.engines.packed.encoder import PackedEncoder
from worker.engines.packed.layer import Layer, Norm
from worker.engines.packed.layout import lay_out
from worker.engines.packed.linear import make_linear
from worker.engines.packed.pooling import pool
from worker.engines.packed.shapes import Shape
from worker.folder import Pooling

COSINE_MIN = 0.999
"""Below it a faster dtype is not used."""

_ROWS = 64
_ROUNDS = 3
_CLEAR = 2.5
"""So many times as fast needs no other round."""
_GAIN_MIN = 1.15
"""A dtype of fewer bits has to be faster by this; a tie goes to the exact one."""
_SAMPLE_LENGTHS = (1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 10, 12, 15, 20, 31, 48)
"""Mostly short ones: with few tokens to take the mean of, what a dtype loses shows most."""


def choose_dtype(shape: Shape, device: torch.device | str) -> torch.dtype:
    """Return the fastest dtype for a model of a shape on a device; on the CPU it takes some 50 ms to find out."""
    if torch.device(device).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return faster(measure(_one_layer(shape, torch.float32), _one_layer(shape, torch.bfloat16)))


def faster(seconds: tuple[float, float]) -> torch.dtype:
    """Return what to use, from the seconds that fp32 and bf16 took for the same."""
    exact, short = seconds
    return torch.bfloat16 if short * _GAIN_MIN < exact else torch.float32


def measure(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Return the least seconds of this thread's own time that each took, in turns.

    A worker that starts because jobs are waiting computes them at the same time; on the clock that would count.
    """
    one(), other()
    least = (math.inf, math.inf)
    for _ in range(_ROUNDS):
        least = (min(least[0], _seconds(one)), min(least[1], _seconds(other)))
        if max(least) > _CLEAR * min(least):
            break
    return least


def _seconds(run: Callable[[], object]) -> float:
    began = time.thread_time()
    run()
    return time.thread_time() - began


def _one_layer(shape: Shape, dtype: torch.dtype) -> Callable[[], Tensor]:
    """Return what runs a block of the shape on a few short sequences."""
    wide, inner = shape.width, shape.inner

    def full(*sizes: int) -> Tensor:
        return torch.full(sizes, 0.01, dtype=dtype)

    norm = Norm(weight=full(wide), bias=full(wide), eps=shape.norm_eps)
    layer = Layer(
        qkv=make_linear(full(3 * wide, wide), full(3 * wide)),
        attended=make_linear(full(wide, wide), full(wide)),
        attended_norm=norm,
        up=make_linear(full(inner, wide), full(inner), shape.activation),
        down=make_linear(full(wide, inner), full(wide)),
        down_norm=norm,
    )
    layout = lay_out([_ROWS // 4] * 4, rounded=False)
    attend = GroupedAttention(shape.heads, padded_length_max=0).prepare(layout, dtype, torch.device("cpu"))
    hidden = full(_ROWS, wide)
    return torch.inference_mode()(lambda: layer(hidden, attend))


def least_cosine(encoder: PackedEncoder, reference: PackedEncoder) -> float:
    """Return how far two encoders of the same weights are apart at worst: the least cosine of their vectors.

    The vectors are means and first tokens of some sequences of random tokens, from one token to the longest of the
    sample.
    """
    sample = _sample(encoder.shape)
    ours, theirs = encoder.forward(sample), reference.forward(sample)
    least = [
        torch.cosine_similarity(pool(ours, pooling), pool(theirs, pooling), dim=1).min()
        for pooling in (Pooling.MEAN, Pooling.CLS)
    ]
    # A number that is not one compares as no, so it is refused.
    return float(torch.stack(least).min())


def _sample(shape: Shape) -> list[list[int]]:
    generator = torch.Generator().manual_seed(7)
    lengths = [min(length, shape.tokens_max) for length in _SAMPLE_LENGTHS]
    return [torch.randint(shape.vocabulary, (length,), generator=generator).tolist() for length in lengths]
