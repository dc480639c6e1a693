"""How much memory a model needs, told before its weights are read: from its `config.json` and its files' headers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from worker.errors import ModelError
from worker.folder import read_json
from worker.settings import Dtype, Quantization

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_HEADER_BYTES_MAX = 100_000_000
"""The format's own limit."""
_STORED = {"F64": "float64", "F32": Dtype.FLOAT32, "F16": Dtype.FLOAT16, "BF16": Dtype.BFLOAT16}
_BYTES = {Dtype.FLOAT32: 4.0, Dtype.BFLOAT16: 2.0, Dtype.FLOAT16: 2.0}
_QUANTIZED_BYTES = {Quantization.EIGHT_BITS: 1.0, Quantization.FOUR_BITS: 0.5 + 4 / 64}
"""Of one weight: nf4 has a float32 for each block of 64, and 8 bits only one for each row."""
HEADS = ("lm_head", "embed_out", "classifier", "score", "qa_outputs", "cls")
"""What makes a model's answer of its hidden states. It is small, it matters most, and so it is never quantized."""
_NOT_QUANTIZED = ("embed", "wte", "wpe", "shared", *(f"{name}." for name in HEADS))
"""In names of what stays as it is: tables, and heads."""
_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A folder's weights, as their files' headers tell."""

    parameters: int
    """Numbers with a floating point; a file has tied ones once."""
    matrix_parameters: int
    """Those of linear layers, which are what quantization makes smaller."""
    dtype: str
    """That most of them are stored in."""
    file_bytes: int
    quantized: str
    """How the file's weights are quantized already, by the name in `config.json`, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The sum: what a model takes of a device's memory."""

    weights: str
    """What the weights are, for people: so many parameters of so many bytes."""
    weights_bytes: int
    cache_tokens: int = 0
    """A generator's: tokens whose keys and values are kept, of all texts together."""
    cache_token_bytes: int = 0
    batch_tokens: int = 0
    batch_token_bytes: int = 0
    """Of one layer, while it computes a token of a batch."""
    advice: str = ""
    """What the owner can choose to need less."""

    @property
    def total_bytes(self) -> int:
        """Return all of it."""
        return (
            self.weights_bytes
            + self.cache_tokens * self.cache_token_bytes
            + self.batch_tokens * self.batch_token_bytes
        )

    def __str__(self) -> str:
        """Return the sum as a sentence's middle."""
        parts = [f"{gib(self.weights_bytes)} for {self.weights}"]
        for what, tokens, each in (
            ("of cache", self.cache_tokens, self.cache_token_bytes),
            ("for a batch", self.batch_tokens, self.batch_token_bytes),
        ):
            if tokens * each:
                parts.append(f"{gib(tokens * each)} {what} ({tokens} tokens x {each} bytes)")
        total = f" = {gib(self.total_bytes)}" if len(parts) > 1 else ""
        return f"needs {' + '.join(parts)}{total}"


def gib(count: int) -> str:
    """Return bytes for people, with two digits even of a small model's."""
    unit, size = ("GiB", _GIB) if count >= _GIB / 10 else ("MiB", 1 << 20)
    return f"{count / size:.1f} {unit}"


def read_stored(folder: Path) -> Stored:
    """Read the headers of a folder's weights, and none of the weights.

    Raises:
        ModelError: there are none, or they are not in safetensors files.
    """
    tensors: dict[str, Mapping[str, Any]] = {}
    for path in _files(folder):
        tensors |= _header(path)
    sizes = {name: (str(told["dtype"]), tuple(told["shape"])) for name, told in tensors.items()}
    counts: dict[str, int] = {}
    for dtype, shape in sizes.values():
        counts[dtype] = counts.get(dtype, 0) + math.prod(shape)
    floating = {dtype: count for dtype, count in counts.items() if dtype in _STORED}
    return Stored(
        parameters=sum(floating.values()),
        matrix_parameters=sum(
            math.prod(shape)
            for name, (dtype, shape) in sizes.items()
            if dtype in _STORED and len(shape) == 2 and not any(part in name for part in _NOT_QUANTIZED)
        ),
        dtype=_STORED[max(floating, key=lambda dtype: floating[dtype])] if floating else "",
        file_bytes=sum(told["data_offsets"][1] - told["data_offsets"][0] for told in tensors.values()),
        quantized=_quantized(folder),
    )


def weigh(stored: Stored, dtype: Dtype, quantization: Quantization) -> Need:
    """Return what the weights alone need in a dtype. Weights that are quantized in the file stay as they are."""
    if stored.quantized:
        weights = f"weights that are stored quantized ({stored.quantized})"
        return Need(weights=weights, weights_bytes=stored.file_bytes, advice=_advice(dtype, quantized=True))
    if quantization is Quantization.NONE:
        return Need(
            weights=f"{_millions(stored.parameters)} parameters x {_BYTES[dtype]:g} bytes ({dtype})",
            weights_bytes=round(stored.parameters * _BYTES[dtype]),
            advice=_advice(dtype, quantized=False),
        )
    plain, each = stored.parameters - stored.matrix_parameters, _QUANTIZED_BYTES[quantization]
    return Need(
        weights=(
            f"{_millions(stored.matrix_parameters)} parameters x {each:.3g} bytes ({quantization}) and "
            f"{_millions(plain)} x {_BYTES[dtype]:g} bytes ({dtype})"
        ),
        weights_bytes=round(stored.matrix_parameters * each + plain * _BYTES[dtype]),
        advice=_advice(dtype, quantized=quantization is Quantization.FOUR_BITS),
    )


def with_work(
    need: Need, config: Mapping[str, Any], dtype: Dtype, *, cache_tokens: int = 0, batch_tokens: int = 0
) -> Need:
    """Return a need with what computing takes beside the weights, as far as the configuration tells the sizes.

    Args:
        need: of the weights.
        config: the model's.
        dtype: of the computation.
        cache_tokens: whose keys and values are kept: layers by 2 by heads of keys by their width, each.
        batch_tokens: of the largest batch. Of one layer at a time there are the input, the residual, queries, keys,
            values and attention's output, each of the model's width, and two of the inner width.
    """
    sizes = _Sizes.read(config)
    each = round(_BYTES[dtype])
    advice = [need.advice]
    if cache_tokens and sizes.cache:
        advice.append("a lower CACHE_TOKENS_MAX")
    if batch_tokens and sizes.width:
        advice.append("a lower BATCH_TOKENS_MAX")
    return replace(
        need,
        cache_tokens=cache_tokens,
        cache_token_bytes=sizes.cache * each,
        batch_tokens=batch_tokens,
        batch_token_bytes=(6 * sizes.width + 2 * sizes.inner) * each,
        advice=", or ".join(advice),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    width: int
    inner: int
    cache: int
    """Numbers that are kept for each token."""

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> _Sizes:
        """Read the sizes under the names that the families have for them; what is not told counts as nothing."""
        told = config.get("text_config") or config
        width = _first(told, "hidden_size", "d_model", "n_embd", "dim")
        heads = _first(told, "num_attention_heads", "decoder_attention_heads", "num_heads", "n_head", "n_heads")
        keys = _first(told, "num_key_value_heads") or heads
        head_width = _first(told, "head_dim", "d_kv") or (width // heads if heads else 0)
        layers = _first(told, "num_decoder_layers", "decoder_layers", "num_hidden_layers", "num_layers", "n_layer")
        # A decoder that reads an encoder keeps keys and values of both.
        both = 2 if told.get("is_encoder_decoder") else 1
        return cls(
            width=width,
            inner=inner_width(told),
            cache=layers * 2 * keys * head_width * both,
        )


def inner_width(config: Mapping[str, Any]) -> int:
    """Return the width between the two linear layers of a block; most models that do not tell have it fourfold."""
    told = config.get("text_config") or config
    width = _first(told, "hidden_size", "d_model", "n_embd", "dim")
    return (
        _first(told, "intermediate_size", "d_ff", "ffn_dim", "decoder_ffn_dim", "n_inner", "hidden_dim") or 4 * width
    )


def outer_width(config: Mapping[str, Any]) -> int:
    """Return the width of a model's hidden states, or 0 where the configuration does not tell."""
    return _first(config.get("text_config") or config, "hidden_size", "d_model", "n_embd", "dim")


def _first(told: Mapping[str, Any], *names: str) -> int:
    return next((value for name in names if isinstance(value := told.get(name), int) and value > 0), 0)


def _advice(dtype: Dtype, *, quantized: bool) -> str:
    chosen = [] if quantized else ["QUANTIZATION=4bit"]
    if dtype is Dtype.FLOAT32 and not quantized:
        chosen.insert(0, "DTYPE=bfloat16")
    return ", ".join([*chosen, "a smaller model", "a device with more memory"])


def _millions(count: int) -> str:
    for size, name in ((10**9, "G"), (10**6, "M")):
        if count >= size:
            return f"{count / size:.3g} {name}"
    return str(count)


def _quantized(folder: Path) -> str:
    told = read_json(folder / "config.json", {}).get("quantization_config") or {}
    return str(told.get("quant_method") or "unnamed") if told else ""


def _files(folder: Path) -> Sequence[Path]:
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    shards = read_json(folder / _INDEX, {}).get("weight_map") or {}
    if not shards:
        raise ModelError(f"the model's folder cannot be read: it has neither {_SINGLE} nor {_INDEX}")
    return [folder / name for name in sorted(set(shards.values()))]


def _header(path: Path) -> dict[str, Mapping[str, Any]]:
    """Return a file's tensors by name: 8 bytes that tell the header's length, and the header in JSON."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _HEADER_BYTES_MAX:
                raise ModelError(f"the model's folder cannot be read: {path.name} is no safetensors file")
            tensors: dict[str, Mapping[str, Any]] = json.loads(file.read(length))
    except (OSError, ValueError) as exc:
        raise ModelError(f"the model's folder cannot be read: {path.name}: {exc}") from exc
    tensors.pop("__metadata__", None)
    return tensors
