"""How a model is going to be run, chosen from the files' headers and this machine before any weight is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

from worker.errors import ModelError
from worker.folder import read_json
from worker.hardware import machine
from worker.hardware.choices import (
    Device,
    Place,
    check_attention,
    choose_device,
    choose_dtype,
    choose_place,
    describe,
)
from worker.hardware.need import Need, Stored, read_stored, weigh, with_work
from worker.log import EventLog
from worker.settings import Attention, Dtype, Hardware, Quantization


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a model is going to be run."""

    place: Place
    dtype: Dtype
    why: str
    """Why this dtype."""
    attention: Attention
    quantization: Quantization
    stored: Stored
    need: Need

    @property
    def device(self) -> Device:
        """Return the first device."""
        return self.place.device

    @property
    def quantized(self) -> str:
        """Return how the weights are quantized, by the file or by choice."""
        return self.stored.quantized or self.quantization

    @property
    def to_compare(self) -> bool:
        """Tell whether the model was made for another dtype, so that its answers are to be held to float32's."""
        return self.quantized == Quantization.NONE and self.dtype not in (Dtype.FLOAT32, self.stored.dtype)


def make_plan(
    folder: Path,
    hardware: Hardware,
    *,
    faster_in_bfloat16: Callable[[Mapping[str, Any], Stored], bool],
    cache_tokens: int = 0,
    batch_tokens: int = 0,
) -> Plan:
    """Choose how to run a folder's model, from the files' headers and before any weight is read.

    Args:
        folder: the model's.
        hardware: what the owner says of it.
        faster_in_bfloat16: tries that out on the CPU, for the model's configuration and weights.
        cache_tokens: whose keys and values a generator keeps at most.
        batch_tokens: of the largest batch.

    Raises:
        ModelError: what the owner asks for cannot be had here, or the model cannot fit.
    """
    devices = machine.read_devices()
    config = read_json(folder / "config.json", {})
    stored = read_stored(folder)
    _check_quantization(stored, hardware.quantization)
    device = choose_device(devices, hardware.device)
    dtype, why = choose_dtype(device, hardware.dtype, faster_in_bfloat16=lambda: faster_in_bfloat16(config, stored))
    check_attention(hardware.attention, device, dtype, has_flash=_has("flash_attn"))
    need = weigh(stored, dtype, hardware.quantization)
    need = with_work(need, config, dtype, cache_tokens=cache_tokens, batch_tokens=batch_tokens)
    place = choose_place(devices, device, hardware, need)
    if place.device_map and not _has("accelerate"):
        raise ModelError("a model over several devices needs the package accelerate: see requirements-large.txt")
    return Plan(
        place=place,
        dtype=dtype,
        why=why,
        attention=hardware.attention,
        quantization=hardware.quantization,
        stored=stored,
        need=need,
    )


def tell_chosen(plan: Plan, dtype: object, attention: str, *, log: EventLog) -> None:
    """Log what the model runs on."""
    log.info(
        "device.chosen",
        device=plan.device.name,
        title=plan.device.title,
        total_bytes=plan.device.total_bytes,
        free_bytes=plan.device.free_bytes,
        dtype=str(dtype).removeprefix("torch."),
        attention=attention,
        quantization=plan.quantized,
        device_map=plan.place.device_map or "none",
        why=f"{describe(plan.device)}; {plan.why}; the model {plan.need}",
    )


def _check_quantization(stored: Stored, asked: Quantization) -> None:
    if asked is Quantization.NONE:
        return
    if stored.quantized:
        raise ModelError(
            f"QUANTIZATION={asked}: the model is stored quantized already ({stored.quantized}); leave it"
        )
    missing = [name for name in ("accelerate", "bitsandbytes") if not _has(name)]
    if missing:
        raise ModelError(
            f"QUANTIZATION={asked} needs the packages {' and '.join(missing)}: "
            "pip install -r gpu_worker/requirements-large.txt"
        )


def _has(package: str) -> bool:
    return util.find_spec(package) is not None
