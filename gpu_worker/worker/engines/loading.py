"""Models and tokenizers of `transformers`, from a folder onto the device. The network is asked for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.engines.devices import best_device
from worker.errors import ModelError
from worker.log import EventLog
from worker.settings import Hardware


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model on its device, ready to answer."""

    model: Any
    """A `transformers.PreTrainedModel` in evaluation mode."""
    missing_weights: Sequence[str]
    """Weights that the file lacks; they are random numbers, so a task that uses them must refuse."""


def load_tokenizer(folder: Path) -> Any:
    """Return a folder's tokenizer.

    Raises:
        ModelError: there is none that can be read.
    """
    import transformers  # seconds

    try:
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as exc:
        raise ModelError(f"the model's folder cannot be read: {exc}") from exc


def load_model(auto_class: str, folder: Path, hardware: Hardware, *, log: EventLog) -> Loaded:  # noqa: ARG001
    """Return a folder's model on the device that the hardware says.

    Args:
        auto_class: of `transformers`, `AutoModelForCausalLM` for one.
        folder: the model's.
        hardware: what the owner says of it.
        log: gets what was chosen.

    Raises:
        ModelError: it cannot be read, or it cannot fit.
    """
    import transformers  # seconds

    try:
        model, told = getattr(transformers, auto_class).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError) as exc:
        raise ModelError(f"the model's folder cannot be read: {exc}") from exc
    model.to(best_device()).eval()
    return Loaded(model=model, missing_weights=sorted(told["missing_keys"]))
