"""A small encoder of the BERT family in numpy: float32, a sequence at a time, exact, ready in a tenth of a second.

It knows the same shapes and names as the packed encoder, which takes its place; it is not made to be fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from worker.engines.packed import names
from worker.engines.packed.shapes import Activation, Shape, read_shape
from worker.errors import ModelError
from worker.folder import todays_name, weight_files

Array = npt.NDArray[np.float32]
_Pair = tuple[Array, Array]
"""The weight and the bias of a linear layer or of a norm."""
_WEIGHTS_MB_MAX = 600
"""A larger encoder is slow on a CPU, and until it hands over its weights are in memory twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A block; its linear weights are turned, (inputs, outputs)."""

    qkv: _Pair
    attended: _Pair
    attended_norm: _Pair
    up: _Pair
    down: _Pair
    down_norm: _Pair


class NumpyEncoder:
    """One encoder. After loading nothing of it changes."""

    def __init__(self, folder: Path) -> None:
        """Read a folder's encoder.

        Raises:
            ModelError: it has something that is not served here, or its weights are not all there.
        """
        self.shape = shape = read_shape(folder)
        if shape.buckets:
            raise ModelError("the early encoder has no relative positions")
        weights = _Weights(folder, shape)
        called = names.encoder_names(shape.family)
        self._words, self._positions = (weights.get(f"{name}.weight") for name in (names.WORDS, names.POSITIONS))
        self._types = weights.get(f"{names.TYPES}.weight") if shape.types else None
        self._norm = weights.pair(names.EMBEDDINGS_NORM)
        self._layers = [_read_layer(weights, called, index) for index in range(shape.layers)]
        self._activate = _ACTIVATIONS[shape.activation]

    def forward(self, ids: Sequence[int], type_ids: Sequence[int] | None) -> Array:
        """Return the hidden states of one sequence, (tokens, width)."""
        tokens = np.asarray(ids)
        hidden = self._words[tokens]
        if self._types is not None:
            hidden = hidden + self._types[np.zeros_like(tokens) if type_ids is None else np.asarray(type_ids)]
        hidden = self._normed(hidden + self._positions[self._places(tokens)], self._norm)
        for layer in self._layers:
            attended = self._attend(hidden @ layer.qkv[0] + layer.qkv[1])
            hidden = self._normed(hidden + (attended @ layer.attended[0] + layer.attended[1]), layer.attended_norm)
            inner = self._activate(hidden @ layer.up[0] + layer.up[1])
            hidden = self._normed(hidden + (inner @ layer.down[0] + layer.down[1]), layer.down_norm)
        return hidden

    def _places(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return each token's row of the position table; see `Layout.positions`."""
        padding = self.shape.padding_id
        if padding is None:
            return np.arange(len(tokens))
        real = (tokens != padding).astype(np.int64)
        places: npt.NDArray[np.int64] = real.cumsum() * real + padding
        return places

    def _attend(self, qkv: Array) -> Array:
        query, key, value = qkv.reshape(len(qkv), 3, self.shape.heads, -1).transpose(1, 2, 0, 3)
        scores = query @ key.transpose(0, 2, 1) / np.float32(math.sqrt(query.shape[2]))
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        attended: Array = (weights / weights.sum(axis=2, keepdims=True)) @ value
        return attended.transpose(1, 0, 2).reshape(len(qkv), -1)

    def _normed(self, rows: Array, norm: _Pair) -> Array:
        centred = rows - rows.mean(axis=1, keepdims=True)
        variance = (centred * centred).mean(axis=1, keepdims=True)
        normed: Array = centred / np.sqrt(variance + np.float32(self.shape.norm_eps)) * norm[0] + norm[1]
        return normed


class _Weights:
    """The tensors of a folder by their names, without the family's prefix."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        prefix = names.encoder_names(shape.family).prefix
        stored_mb = sum((folder / name).stat().st_size for name in weight_files(folder)) // 10**6
        if stored_mb > _WEIGHTS_MB_MAX:
            raise ModelError(f"weights of {stored_mb} MB are not answered early; {_WEIGHTS_MB_MAX} MB at most")
        try:
            files = [safe_open(folder / name, framework="np") for name in weight_files(folder)]
        except (OSError, SafetensorError) as exc:
            raise ModelError(f"the model's weights cannot be read: {exc}") from exc
        self._tensors: Mapping[str, tuple[Any, str]] = {
            todays_name(key).removeprefix(prefix): (file, key)
            for file in files
            for key in file.offset_keys()  # type: ignore[no-untyped-call]  # safetensors types no methods
        }

    def get(self, name: str) -> Array:
        if name not in self._tensors:
            raise ModelError(f"the model's file lacks the weight {name}")
        file, key = self._tensors[name]
        try:
            tensor: Array = np.asarray(file.get_tensor(key), dtype=np.float32)
        except (TypeError, SafetensorError) as exc:
            raise ModelError(f"numpy cannot read the weight {name}: {exc}") from exc  # bfloat16, for one
        return tensor

    def pair(self, name: str) -> _Pair:
        return self.get(f"{name}.weight"), self.get(f"{name}.bias")

    def turned(self, *parts: str) -> _Pair:
        pairs = [self.pair(part) for part in parts]
        # Turned by a view alone: the product reads it as well, and a start copies nothing.
        return np.concatenate([weight for weight, _ in pairs]).T, np.concatenate([bias for _, bias in pairs])


def _read_layer(weights: _Weights, called: names.Names, index: int) -> _Layer:
    at = called.layer.format(index)
    return _Layer(
        qkv=weights.turned(at + called.query, at + called.key, at + called.value),
        attended=weights.turned(at + called.attended),
        attended_norm=weights.pair(at + called.attended_norm),
        up=weights.turned(at + called.up),
        down=weights.turned(at + called.down),
        down_norm=weights.pair(at + called.down_norm),
    )


def _gelu(rows: Array) -> Array:
    return rows * np.float32(0.5) * (1 + _erf(rows * np.float32(math.sqrt(0.5))))


def _erf(rows: Array) -> Array:
    """Return the error function to 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26."""
    size = np.abs(rows)
    t = 1 / (1 + np.float32(0.3275911) * size)
    series = np.float32(1.061405429) * t + np.float32(-1.453152027)
    for factor in (1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(factor)
    signed: Array = np.copysign(1 - series * t * np.exp(-size * size), rows)
    return signed


def _gelu_tanh(rows: Array) -> Array:
    inner = np.float32(math.sqrt(2 / math.pi)) * (rows + np.float32(0.044715) * rows**3)
    made: Array = rows * np.float32(0.5) * (1 + np.tanh(inner))
    return made


_ACTIVATIONS: Mapping[Activation, Callable[[Array], Array]] = {
    Activation.GELU: _gelu,
    Activation.GELU_TANH: _gelu_tanh,
    Activation.RELU: lambda rows: np.maximum(rows, 0),
    Activation.SILU: lambda rows: rows / (1 + np.exp(-rows)),
}
