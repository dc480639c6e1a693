"""Models and tokenizers of `transformers`, from a folder onto the device. The network is asked for nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from worker.errors import ModelError, OutOfMemoryError
from worker.hardware.failures import device_errors, empty_cache
from worker.hardware.need import HEADS, Stored, weigh
from worker.hardware.plan import Plan, make_plan, tell_chosen
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
    plan = make_plan(
        folder, hardware, faster_in_bfloat16=_is_faster, cache_tokens=cache_tokens, batch_tokens=batch_tokens
    )
    try:
        with device_errors():
            loaded = (
                _compared(auto_class, folder, plan, log=log) if plan.to_compare else _read(auto_class, folder, plan)
            )
    except OutOfMemoryError as exc:
        raise ModelError(f"the model does not fit after all: it {plan.need}; {exc}") from exc
    tell_chosen(plan, loaded.model.dtype, loaded.model.config._attn_implementation, log=log)
    return loaded


def _is_faster(config: Mapping[str, Any], stored: Stored) -> bool:
    from worker.engines.general import exactness  # brings torch, which is loaded by now

    return exactness.is_faster_in_bfloat16(config, stored.parameters)


def _compared(auto_class: str, folder: Path, plan: Plan, *, log: EventLog) -> Loaded:
    """Return the model in the plan's dtype if it answers as in float32, else in float32."""
    from worker.engines.general import exactness  # brings torch, which is loaded by now

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
