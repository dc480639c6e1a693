"""What a packed encoder needs to know of a model, read from its `config.json` and checked; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from worker.errors import ModelError
from worker.folder import read_json

_TOKENIZER = "tokenizer.json"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_MPNET_BUCKETS = 32
"""The library's code has this number in it, whatever the configuration says."""
_MPNET_PADDING_ID = 1
"""Also a constant of its code."""
_LABELS_UNSAID = 2


class Family(StrEnum):
    """The models that are known, by their `model_type`."""

    BERT = "bert"
    ROBERTA = "roberta"
    XLM_ROBERTA = "xlm-roberta"
    CAMEMBERT = "camembert"
    DISTILBERT = "distilbert"
    MPNET = "mpnet"


class Activation(StrEnum):
    """What is between the two linear layers of a block."""

    GELU = "gelu"
    """With the error function, not its approximation."""
    GELU_TANH = "gelu_tanh"
    RELU = "relu"
    SILU = "silu"


class Head(StrEnum):
    """What is made of the hidden states."""

    NONE = "none"
    SEQUENCE = "sequence"
    """Logits for each sequence: classification, or one label for reranking pairs."""
    TOKEN = "token"  # noqa: S105  # a token of text
    """Logits for each token."""


_ACTIVATIONS = {
    "gelu": Activation.GELU,
    "gelu_python": Activation.GELU,
    "gelu_new": Activation.GELU_TANH,
    "gelu_fast": Activation.GELU_TANH,
    "gelu_pytorch_tanh": Activation.GELU_TANH,
    "relu": Activation.RELU,
    "silu": Activation.SILU,
    "swish": Activation.SILU,
}
_CLASSES = {
    Family.BERT: "Bert",
    Family.ROBERTA: "Roberta",
    Family.XLM_ROBERTA: "XLMRoberta",
    Family.CAMEMBERT: "Camembert",
    Family.DISTILBERT: "DistilBert",
    Family.MPNET: "MPNet",
}
_HEADS = {"ForSequenceClassification": Head.SEQUENCE, "ForTokenClassification": Head.TOKEN}
_NO_TYPES = (Family.DISTILBERT, Family.MPNET)
_KEYS = {"width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads"} | {
    "inner": "intermediate_size",
    "activation": "hidden_act",
}
_DISTILBERT_KEYS = {"width": "dim", "layers": "n_layers", "heads": "n_heads"} | {
    "inner": "hidden_dim",
    "activation": "activation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes and choices of one encoder. All that is not here is the same in every family."""

    family: Family
    width: int
    layers: int
    heads: int
    """Of attention; they divide the width."""
    inner: int
    """Width between the two linear layers of a block."""
    activation: Activation
    norm_eps: float
    vocabulary: int
    positions: int
    """Rows of the position table."""
    padding_id: int | None
    """Where positions are counted from behind this token, leaving it out; None where they are counted from 0."""
    types: int
    """Rows of the token type table; 0 where there is none."""
    buckets: int
    """Of the relative positions that bias attention; 0 where nothing does."""
    labels: tuple[str, ...]
    """Names of a head's outputs, in order."""

    @property
    def tokens_max(self) -> int:
        """Return the most tokens that one sequence may have."""
        return self.positions if self.padding_id is None else self.positions - self.padding_id - 1


def supports(folder: Path, head: Head = Head.NONE) -> bool:
    """Tell whether a folder looks like one that can be served, from its JSON and the names of its files.

    Loading may still refuse it: the weights are looked at only then.
    """
    try:
        shape = read_shape(folder)
    except ModelError:
        return False
    files = (folder / _TOKENIZER).is_file() and any((folder / name).is_file() for name in _WEIGHTS)
    return files and (head is Head.NONE or bool(shape.labels))


def read_head(folder: Path) -> Head:
    """Return the head that a folder's architecture has, if it is one of those that are served."""
    names = read_json(folder / "config.json", {}).get("architectures") or [""]
    return next((head for ending, head in _HEADS.items() if str(names[0]).endswith(ending)), Head.NONE)


def read_shape(folder: Path) -> Shape:
    """Read the shape of a folder's encoder.

    Raises:
        ModelError: it has something that this package would get wrong.
    """
    config: Any = read_json(folder / "config.json", None)
    if not isinstance(config, Mapping):
        raise ModelError("the model has no config.json")
    try:
        return _checked(_shape(config))
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise ModelError(f"the model's config.json cannot be read by the packed encoder: {exc!r}") from exc


def _shape(config: Mapping[str, Any]) -> Shape:
    family = _family(config)
    keys = _DISTILBERT_KEYS if family is Family.DISTILBERT else _KEYS
    return Shape(
        family=family,
        width=int(config[keys["width"]]),
        layers=int(config[keys["layers"]]),
        heads=int(config[keys["heads"]]),
        inner=int(config[keys["inner"]]),
        activation=_activation(config.get(keys["activation"], "gelu")),
        norm_eps=1e-12 if family is Family.DISTILBERT else float(config.get("layer_norm_eps", 1e-12)),
        vocabulary=int(config["vocab_size"]),
        positions=int(config.get("max_position_embeddings", 512)),
        padding_id=_padding_id(family, config),
        types=0 if family in _NO_TYPES else int(config.get("type_vocab_size", 2)),
        buckets=int(config.get("relative_attention_num_buckets", _MPNET_BUCKETS)) if family is Family.MPNET else 0,
        labels=_labels(config),
    )


def _family(config: Mapping[str, Any]) -> Family:
    """Return the family, unless the configuration asks for what the family does not do by itself."""
    family = Family(config["model_type"])
    for name in config.get("architectures") or ():
        if not str(name).startswith(_CLASSES[family]):
            raise ModelError(f"the model's architecture {name} is not of the family {family}")
    for key in ("is_decoder", "add_cross_attention", "auto_map", "quantization_config"):
        if config.get(key):
            raise ModelError(f"the model's config.json has {key}, which the packed encoder does not do")
    kind = config.get("position_embedding_type", "absolute")
    if kind != "absolute":
        raise ModelError(f"the model has {kind} position embeddings; the packed encoder knows absolute ones")
    return family


def _activation(name: Any) -> Activation:
    if name not in _ACTIVATIONS:
        raise ModelError(f"the packed encoder does not know the activation {name}")
    return _ACTIVATIONS[name]


def _padding_id(family: Family, config: Mapping[str, Any]) -> int | None:
    match family:
        case Family.BERT | Family.DISTILBERT:
            return None
        case Family.MPNET:
            return _MPNET_PADDING_ID
        case _:
            return int(config.get("pad_token_id", 1))


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    names = config.get("id2label")
    if names is None:
        return tuple(f"LABEL_{index}" for index in range(int(config.get("num_labels", _LABELS_UNSAID))))
    numbered = {int(index): str(name) for index, name in names.items()}
    return tuple(numbered[index] for index in range(len(numbered)))


def _checked(shape: Shape) -> Shape:
    if shape.width % shape.heads:
        raise ModelError(f"the model's width {shape.width} is not a multiple of its {shape.heads} heads")
    if shape.buckets not in (0, _MPNET_BUCKETS):
        raise ModelError(f"the model has {shape.buckets} buckets of relative positions, not {_MPNET_BUCKETS}")
    if shape.tokens_max < 1:
        raise ModelError("the model's position table leaves no room for a token")
    return shape
