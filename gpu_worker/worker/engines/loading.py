"""Models and tokenizers of `transformers`, from a folder onto the device. The network is asked for nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import util
from pathlib import Path
from typing import Any

from worker.engines import machine
from worker.engines.devices import device_errors, empty_cache
from worker.engines.folder import read_json
from worker.engines.hardware import (
    Device,
    Place,
    check_attention,
    choose_device,
    choose_dtype,
    choose_place,
    describe,
)
from worker.engines.memory import HEADS, Need, Stored, read_stored, weigh, with_work
from worker.errors import ModelError, OutOfMemoryError
from worker.log import EventLog
from worker.settings import Attention, Dtype, Hardware, Quantization

_REFERENCE_BYTES_MAX = 8 << 30
"""A larger model is not loaded twice to compare it with itself in float32: a start has to end."""
_MESSAGE_CHARS_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model on its device, ready to answer."""

    model: Any
    """A `transformers.PreTrainedModel` in evaluation mode."""
    missing_weights: Sequence[str]
    """Weights that the file lacks; they are random numbers, so a task that uses them must refuse."""
    device: str
    """Where its inputs go."""


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


def unreadable(exc: Exception) -> ModelError:
    """Return the error for what a library raised over a folder, on one line: some list every model there is."""
    return ModelError(f"the model's folder cannot be read: {' '.join(str(exc).split())[:_MESSAGE_CHARS_MAX]}")


def lacking(weights: Sequence[str]) -> ModelError:
    """Return the error for weights that a task needs and the file does not have."""
    return ModelError(
        f"the model's file lacks {len(weights)} weights of this task, {weights[0]} first: "
        "the model was made for another one; TASK=auto finds it"
    )


def load_tokenizer(folder: Path) -> Any:
    """Return a folder's tokenizer.

    Raises:
        ModelError: there is none that can be read, or it knows no words.
    """
    import transformers  # seconds

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as exc:
        raise unreadable(exc) from exc
    # Where the file is missing the library makes up an empty one, to which every word is unknown.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ModelError(
            "the model's folder has no tokenizer.json, and nothing else that its vocabulary could be read of"
        )
    return tokenizer


def load_model(
    auto_class: str, folder: Path, hardware: Hardware, *, log: EventLog, cache_tokens: int = 0, batch_tokens: int = 0
) -> Loaded:
    """Return a folder's model on the device that is best for it, or that the hardware says.

    Args:
        auto_class: of `transformers`, `AutoModelForCausalLM` for one.
        folder: the model's.
        hardware: what the owner says of it.
        log: gets what was chosen.
        cache_tokens: whose keys and values a generator keeps at most.
        batch_tokens: of the largest batch.

    Raises:
        ModelError: it cannot be read, or it cannot fit.
    """
    plan = make_plan(folder, hardware, cache_tokens=cache_tokens, batch_tokens=batch_tokens)
    try:
        with device_errors():
            loaded = (
                _compared(auto_class, folder, plan, log=log) if plan.to_compare else _read(auto_class, folder, plan)
            )
    except OutOfMemoryError as exc:
        raise ModelError(f"the model does not fit after all: it {plan.need}; {exc}") from exc
    tell_chosen(plan, loaded.model.dtype, loaded.model.config._attn_implementation, log=log)
    return loaded


def make_plan(
    folder: Path,
    hardware: Hardware,
    *,
    cache_tokens: int = 0,
    batch_tokens: int = 0,
    faster_in_bfloat16: Callable[[], bool] | None = None,
) -> Plan:
    """Choose how to run a folder's model, from the files' headers and before any weight is read.

    Args:
        folder: the model's.
        hardware: what the owner says of it.
        cache_tokens: whose keys and values a generator keeps at most.
        batch_tokens: of the largest batch.
        faster_in_bfloat16: tries it out on the CPU. Nothing: a linear layer of the model's sizes.

    Raises:
        ModelError: what the owner asks for cannot be had here, or the model cannot fit.
    """
    devices = machine.read_devices()
    config = read_json(folder / "config.json", {})
    stored = read_stored(folder)
    _check_quantization(stored, hardware.quantization)
    device = choose_device(devices, hardware.device)
    dtype, why = choose_dtype(device, hardware.dtype, faster_in_bfloat16=faster_in_bfloat16 or _probe(config, stored))
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


def _probe(config: Mapping[str, Any], stored: Stored) -> Callable[[], bool]:
    from worker.engines import exactness  # brings torch, which is loaded by now

    return lambda: exactness.is_faster_in_bfloat16(config, stored.parameters)


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


def _compared(auto_class: str, folder: Path, plan: Plan, *, log: EventLog) -> Loaded:
    """Return the model in the plan's dtype if it answers as in float32, else in float32."""
    from worker.engines import exactness  # brings torch, which is loaded by now

    exact = replace(plan, dtype=Dtype.FLOAT32, need=weigh(plan.stored, Dtype.FLOAT32, Quantization.NONE))
    both = plan.need.total_bytes + exact.need.weights_bytes
    chosen = _read(auto_class, folder, plan)
    if plan.place.device_map or both > plan.device.free_bytes or exact.need.weights_bytes > _REFERENCE_BYTES_MAX:
        log.warning("device.dtype_unchecked", dtype=plan.dtype, stored=plan.stored.dtype)
        return chosen
    reference = _read(auto_class, folder, exact)
    cosine = exactness.least_cosine(chosen.model, reference.model)
    if cosine >= exactness.COSINE_MIN:
        log.info("device.dtype_checked", dtype=plan.dtype, cosine_min=round(cosine, 6))
        del reference
        empty_cache()
        return chosen
    log.warning("device.dtype_refused", dtype=plan.dtype, cosine_min=round(cosine, 6))
    del chosen
    empty_cache()
    return reference


def _read(auto_class: str, folder: Path, plan: Plan) -> Loaded:
    """Read the weights. They are mapped from their files, and are never in memory twice."""
    import safetensors  # a tenth of a second
    import torch  # seconds
    import transformers  # seconds

    asked: dict[str, Any] = {"dtype": getattr(torch, plan.dtype)}
    if plan.attention is not Attention.AUTO:
        asked["attn_implementation"] = plan.attention.value
    try:
        model, told = getattr(transformers, auto_class).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **asked,
            **_placed(plan),
        )
    except (OSError, ValueError, ImportError, safetensors.SafetensorError) as exc:
        raise unreadable(exc) from exc
    if not (plan.place.device_map or plan.quantized != Quantization.NONE):
        model.to(plan.device.name)
    model.eval()
    return Loaded(model=model, missing_weights=sorted(told["missing_keys"]), device=_input_device(model))


def _placed(plan: Plan) -> dict[str, Any]:
    """Return what `from_pretrained` is told of device and quantization."""
    if plan.place.device_map:
        placed: dict[str, Any] = {
            "device_map": plan.place.device_map,
            "max_memory": dict(plan.place.max_memory or {}),
        }
    else:
        # Quantized weights cannot be moved afterwards; others are, without `accelerate`.
        placed = {"device_map": {"": plan.device.name}} if plan.quantized != Quantization.NONE else {}
    if plan.quantization is not Quantization.NONE:
        placed["quantization_config"] = _bitsandbytes(plan)
    return placed


def _bitsandbytes(plan: Plan) -> Any:
    import torch  # seconds
    import transformers  # seconds

    # On most hardware it says at each layer that it computes in float16, which is how it works.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if plan.quantization is Quantization.EIGHT_BITS:
        return transformers.BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(HEADS))
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=getattr(torch, plan.dtype),
        llm_int8_skip_modules=list(HEADS),
    )


def _input_device(model: Any) -> str:
    """Return where inputs go: to the first device that computes. Offloaded weights have no device of their own."""
    computing = [device for device in (getattr(model, "hf_device_map", None) or {}).values() if device != "disk"]
    cards = [device for device in computing if device != "cpu"]
    if not cards:
        return str(model.device)
    return f"cuda:{cards[0]}" if isinstance(cards[0], int) else str(cards[0])
