"""The weights of a folder, mapped: a tensor is read from the disk when its numbers are, and not before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from worker.engines.packed import names
from worker.errors import ModelError
from worker.folder import todays_name, weight_files

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


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
            for name in weight_files(folder):
                file = safe_open(folder / name, framework="pt")
                keys: list[str] = file.offset_keys()  # type: ignore[no-untyped-call]  # safetensors types no methods
                tensors |= {todays_name(key): (file, key) for key in keys}
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
