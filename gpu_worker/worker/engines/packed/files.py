"""Which files of a folder hold its weights, and what their tensors are called; apart, so that no torch is needed."""

from __future__ import annotations

from pathlib import Path

from worker.engines.folder import read_json
from worker.errors import ModelError

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_OLD_ENDINGS = {".gamma": ".weight", ".beta": ".bias"}
"""What the first checkpoints called the two of a layer norm."""


def weight_files(folder: Path) -> list[str]:
    """Return the one file of a folder, or all that its index names.

    Raises:
        ModelError: there is none.
    """
    if (folder / _SINGLE).is_file():
        return [_SINGLE]
    shards = read_json(folder / _INDEX, {}).get("weight_map", {})
    if not shards:
        raise ModelError(f"the model's folder has neither {_SINGLE} nor {_INDEX}")
    return sorted(set(shards.values()))


def todays_name(name: str) -> str:
    """Return what a tensor is called now that a file may call otherwise."""
    ending = next((ending for ending in _OLD_ENDINGS if name.endswith(ending)), "")
    return name.removesuffix(ending) + _OLD_ENDINGS[ending] if ending else name
