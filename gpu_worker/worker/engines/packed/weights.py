"""The weights of a folder, mapped: a tensor is read from the disk when its numbers are, and not before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from worker.engines.folder import read_json
from worker.engines.packed import names
from worker.errors import ModelError

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_OLD_ENDINGS = {".gamma": ".weight", ".beta": ".bias"}
"""What the first checkpoints called the two of a layer norm."""


class Weights:
    """Named tensors on the CPU, as the file has them."""

    def __init__(self, tensors: Mapping[str, tuple[Any, str]], prefix: str) -> None:
        self._tensors = tensors
        # A file of the encoder alone has no prefix.
        self._prefix = prefix if f"{prefix}{names.WORDS}.weight" in tensors else ""

    @classmethod
    def open(cls, folder: Path, *, prefix: str) -> Weights:
        """Open the one file of a folder, or all that its index names.

        Raises:
            ModelError: there is none, or it is no safetensors file.
        """
        tensors: dict[str, tuple[Any, str]] = {}
        try:
            for name in _files(folder):
                file = safe_open(folder / name, framework="pt")
                keys: list[str] = file.offset_keys()  # type: ignore[no-untyped-call]  # safetensors types no methods
                tensors |= {_today(key): (file, key) for key in keys}
        except (OSError, SafetensorError) as exc:
            raise ModelError(f"the model's weights cannot be read: {exc}") from exc
        return cls(tensors, prefix)

    def encoder(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return a weight of the encoder; the prefix of its family is found here.

        Raises:
            ModelError: it is missing, of another shape, or of numbers that are not floating-point.
        """
        return self.head(self._prefix + name, shape)

    def head(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return a weight by its full name; raises as `encoder` does."""
        if name not in self._tensors:
            raise ModelError(f"the model's file lacks the weight {name}")
        file, key = self._tensors[name]
        tensor: Tensor = file.get_tensor(key)
        if tuple(tensor.shape) != shape or tensor.dtype not in _DTYPES:
            raise ModelError(f"the weight {name} is {tuple(tensor.shape)} of {tensor.dtype}; the model needs {shape}")
        return tensor


def _files(folder: Path) -> list[str]:
    if (folder / _SINGLE).is_file():
        return [_SINGLE]
    shards = read_json(folder / _INDEX, {}).get("weight_map", {})
    if not shards:
        raise ModelError(f"the model's folder has neither {_SINGLE} nor {_INDEX}")
    return sorted(set(shards.values()))


def _today(name: str) -> str:
    ending = next((ending for ending in _OLD_ENDINGS if name.endswith(ending)), "")
    return name.removesuffix(ending) + _OLD_ENDINGS[ending] if ending else name
