"""Linear layers: one product with what follows it, the activation or the residual, in the same pass over memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from worker.engines.packed.shapes import Activation

_ROWS_EXPECTED = 1024
"""The batch that oneDNN lays the weights out for; other sizes work on the same layout."""
_FUSED = {
    None: ("none", ""),
    Activation.GELU: ("gelu", "none"),
    Activation.GELU_TANH: ("gelu", "tanh"),
    Activation.RELU: ("relu", ""),
    Activation.SILU: ("swish", ""),
}
_PLAIN: dict[Activation | None, Callable[[Tensor], Tensor]] = {
    None: lambda rows: rows,
    Activation.GELU: functional.gelu,
    Activation.GELU_TANH: lambda rows: functional.gelu(rows, approximate="tanh"),
    Activation.RELU: functional.relu,
    Activation.SILU: functional.silu,
}


class Linear(Protocol):
    """A linear layer, with its activation if it has one."""

    def __call__(self, rows: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return `activation(rows · weightᵀ + bias)`, plus the residual where one is given. Changes neither."""
        ...


class MakeLinear(Protocol):
    """Makes a layer of a weight, (outputs, inputs), and a bias."""

    def __call__(self, weight: Tensor, bias: Tensor, activation: Activation | None = None, /) -> Linear:
        """Return the layer."""
        ...


def make_linear(weight: Tensor, bias: Tensor, activation: Activation | None = None) -> Linear:
    """Return the fastest layer there is for a weight, (outputs, inputs), on its device and of its dtype."""
    if weight.device.type == "cpu" and can_prepack(weight.dtype):
        return PrepackedLinear(weight, bias, activation)
    return PlainLinear(weight, bias, activation)


class PlainLinear:
    """What torch gives everybody."""

    def __init__(self, weight: Tensor, bias: Tensor, activation: Activation | None = None) -> None:
        self._weight, self._bias, self._activate = weight, bias, _PLAIN[activation]

    def __call__(self, rows: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return the layer's output; see `Linear`."""
        made = self._activate(functional.linear(rows, self._weight, self._bias))
        return made if residual is None else made.add_(residual)


class PrepackedLinear:
    """oneDNN's, with the weight laid out once as its kernels want it, which they else do at each call."""

    def __init__(self, weight: Tensor, bias: Tensor, activation: Activation | None = None) -> None:
        self._weight = _operators()._reorder_linear_weight(weight, _ROWS_EXPECTED)
        self._bias = bias.contiguous()
        self._attribute, self._algorithm = _FUSED[activation]
        self._run = _operators()._linear_pointwise.default
        self._run_residual = _operators()._linear_pointwise.binary

    def __call__(self, rows: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return the layer's output; see `Linear`."""
        if residual is not None and self._attribute == "none":
            made: Tensor = self._run_residual(rows, residual, self._weight, self._bias, "add")
            return made
        made = self._run(rows, self._weight, self._bias, self._attribute, [], self._algorithm)
        return made if residual is None else made.add_(residual)


@cache
def can_prepack(dtype: torch.dtype) -> bool:
    """Tell whether oneDNN's private operators are there and right for a dtype; if not, plain layers do the work."""
    generator = torch.Generator().manual_seed(7)
    rows, weight = (torch.randn(n, 64, generator=generator).to(dtype) for n in (5, 96))
    bias = torch.randn(96, generator=generator).to(dtype)
    try:
        return all(_agree(rows, weight, bias, activation) for activation in _FUSED)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        # Private operators may go, or change what they take, with any release of torch.
        return False


def _agree(rows: Tensor, weight: Tensor, bias: Tensor, activation: Activation | None) -> bool:
    residual = rows.new_ones(len(rows), len(weight))
    made = PrepackedLinear(weight, bias, activation)(rows, residual).float()
    expected = PlainLinear(weight.float(), bias.float(), activation)(rows.float(), residual.float())
    return torch.allclose(made, expected, rtol=0.02, atol=1e-4 if rows.dtype == torch.float32 else 0.1)


def _operators() -> Any:
    return torch.ops.mkldnn
