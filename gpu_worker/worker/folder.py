"""A model's folder: what its own files say about how it wants to be run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from worker.errors import ModelError
from worker.settings import Task

_HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")
"""Never pickled weights: reading those runs code that came with them."""
_MODULES = ("Transformer", "Pooling", "Normalize")
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_OLD_ENDINGS = {".gamma": ".weight", ".beta": ".bias"}
"""What the first checkpoints called the two of a layer norm."""


class Pooling(StrEnum):
    """How a vector is made of a text's tokens."""

    MEAN = "mean"
    CLS = "cls"
    LAST_TOKEN = "lasttoken"  # noqa: S105  # a token of text


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a folder's vectors are made from its model's tokens, as sentence-transformers writes it down."""

    transformer: Path
    """The folder of weights and tokenizer."""
    pooling: Pooling
    normalize: bool
    tokens_max: int | None
    """What the folder says is the longest text; None where only the tokenizer and the model know."""


def find_folder(model: str) -> Path:
    """Return the folder of a model; a hub id that is no folder here is downloaded first.

    Raises:
        ModelError: it is neither.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    if folder.is_absolute() or model.startswith("."):
        raise ModelError(f"MODEL={model}: there is no such folder")
    return _download(model)


def check_folder(folder: Path) -> None:
    """Find out that a folder holds no model before any library says so in its own words.

    Raises:
        ModelError: it does not.
    """
    if not any((folder / name).is_file() for name in ("config.json", "modules.json")):
        raise ModelError(f"MODEL={folder}: the folder has no config.json, so it is no model that transformers saved")


def _download(hub_id: str) -> Path:
    import huggingface_hub  # a baked model starts without it

    try:
        return Path(huggingface_hub.snapshot_download(hub_id, allow_patterns=list(_HUB_FILES)))
    except Exception as exc:
        raise ModelError(f"MODEL={hub_id}: it is no folder here, and the hub does not give it: {exc}") from exc


_SEQ2SEQ_TASKS = {
    "marian": Task.TRANSLATION,
    "m2m_100": Task.TRANSLATION,
    "mbart": Task.TRANSLATION,
    "pegasus": Task.SUMMARIZATION,
}
"""By the model's type; what the rest is for, only its owner knows."""


def read_task(folder: Path) -> Task:  # noqa: PLR0911  # a table of names
    """Return what a model is for, by the name of its architecture."""
    config = read_json(folder / "config.json", {})
    for name in config.get("architectures") or []:
        match str(name).rpartition("For")[2]:
            case "SequenceClassification":
                return Task.RERANKING if _has_one_label(config) else Task.TEXT_CLASSIFICATION
            case "TokenClassification":
                return Task.TOKEN_CLASSIFICATION
            case "QuestionAnswering":
                return Task.QUESTION_ANSWERING
            # Models that were trained on for embeddings often keep this name; modules.json tells them apart.
            case "MaskedLM" if not (folder / "modules.json").exists():
                return Task.FILL_MASK
            case "ConditionalGeneration" | "MarianMTModel":
                return _SEQ2SEQ_TASKS.get(config.get("model_type"), Task.TEXT2TEXT_GENERATION)
            case "CausalLM" | "GPT2LMHeadModel" if not (folder / "modules.json").exists():
                return Task.TEXT_GENERATION
    return Task.EMBEDDINGS


def _has_one_label(config: Mapping[str, Any]) -> bool:
    # The file has the number only where it was written by hand, and the names unless there are two.
    return len(config.get("id2label") or ()) == 1 or config.get("num_labels") == 1


def read_layout(folder: Path) -> Layout:
    """Read how vectors are made: `modules.json` says it, and without that it is the mean of the tokens.

    Raises:
        ModelError: it needs a step that this worker does not know; without the step its vectors would be wrong.
    """
    modules: Any = read_json(folder / "modules.json", None)
    if modules is None:
        return Layout(transformer=folder, pooling=Pooling.MEAN, normalize=False, tokens_max=None)
    paths = {str(module["type"]).rsplit(".", 1)[-1]: folder / str(module["path"]) for module in modules}
    _check_steps(folder, paths)
    transformer = paths["Transformer"]
    return Layout(
        transformer=transformer,
        pooling=_pooling(read_json(paths["Pooling"] / "config.json", {})) if "Pooling" in paths else Pooling.MEAN,
        normalize="Normalize" in paths,
        tokens_max=_tokens_max(transformer),
    )


def _check_steps(folder: Path, paths: Mapping[str, Path]) -> None:
    unknown = [name for name in paths if name not in _MODULES]
    if unknown or "Transformer" not in paths:
        raise ModelError(f"the model's modules.json has {', '.join(paths)}; known steps are {', '.join(_MODULES)}")
    if read_json(folder / "config_sentence_transformers.json", {}).get("default_prompt_name"):
        raise ModelError("the model puts a default prompt before each text, which this worker does not do")


def _pooling(config: Mapping[str, Any]) -> Pooling:
    """Read either way of writing it: `pooling_mode: "cls"`, or one `pooling_mode_…: true` for each mode."""
    modes = config.get("pooling_mode", [name for name, on in config.items() if name.startswith("pooling_") and on])
    modes = [modes] if isinstance(modes, str) else list(modes)
    names = [str(mode).removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for mode in modes]
    if len(names) != 1 or names[0] not in list(Pooling):
        raise ModelError(f"the model pools by {', '.join(names)}; known poolings are {', '.join(Pooling)}")
    return Pooling(names[0])


def _tokens_max(transformer: Path) -> int | None:
    # The file is called sentence_bert_config.json, sentence_roberta_config.json and so on, after the model.
    for path in sorted(transformer.glob("sentence_*config.json")):
        tokens_max = read_json(path, {}).get("max_seq_length")
        if isinstance(tokens_max, int):
            return tokens_max
    return None


def weight_files(folder: Path) -> list[str]:
    """Return the one file of a folder, or all that its index names.

    Raises:
        ModelError: there is none.
    """
    if (folder / _WEIGHTS).is_file():
        return [_WEIGHTS]
    shards = read_json(folder / _INDEX, {}).get("weight_map", {})
    if not shards:
        raise ModelError(f"the model's folder has neither {_WEIGHTS} nor {_INDEX}")
    return sorted(set(shards.values()))


def todays_name(name: str) -> str:
    """Return what a tensor is called now that a file may call otherwise."""
    ending = next((ending for ending in _OLD_ENDINGS if name.endswith(ending)), "")
    return name.removesuffix(ending) + _OLD_ENDINGS[ending] if ending else name


def read_json(path: Path, default: Any) -> Any:
    """Return a file's JSON, or the default where there is no file.

    Raises:
        ModelError: it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return default
    except ValueError as exc:
        raise ModelError(f"{path.name} of the model is not JSON") from exc
