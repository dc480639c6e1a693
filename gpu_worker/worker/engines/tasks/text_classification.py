"""Text classification: the labels of each text with their scores, best first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.engines.general.text import TextEngine, finite
from worker.engines.inputs import Parameters
from worker.engines.packed import read_shape
from worker.engines.packed.text import PackedTextEngine
from worker.folder import read_json
from worker.settings import Hardware, Limits

_FUNCTIONS = ("softmax", "sigmoid", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a job wants to see of its scores."""

    top_k: int | None
    function: str


class PackedTextClassificationEngine(PackedTextEngine[Options]):
    """As `TextClassificationEngine`, for the models that the packed encoder serves."""

    def __init__(self, folder: Path, limits: Limits, hardware: Hardware | None = None) -> None:
        super().__init__(folder, limits, hardware)
        self._problem_type = read_json(folder / "config.json", {}).get("problem_type")
        self._labels = dict(enumerate(read_shape(folder).labels))
        self._head: Any = None

    def read_options(self, parameters: Mapping[str, Any]) -> tuple[Options, bool]:
        """Return which scores to show and how, and whether to truncate."""
        return _read_options(parameters, self._problem_type, labels=len(self._labels))

    def load_head(self, device: str) -> None:
        """Read the classifier."""
        from worker.engines.packed.heads import SequenceHead  # brings torch

        self._head = SequenceHead.load(self._folder, self._encoder.shape, device=device)

    def rows(self, packed: Any, options: Sequence[Options]) -> list[Any]:
        """Return the best labels of each text."""
        logits = self._head.logits(packed)
        return [
            _best(_scores(row, each.function).tolist(), self._labels, each.top_k)
            for row, each in zip(logits, options, strict=True)
        ]


class TextClassificationEngine(TextEngine[Options]):
    """Takes a text or a list of texts, and returns a list of `{label, score}` or a list of such lists.

    Parameters: `top_k` (whole number or null; default null, which is all labels), `function_to_apply` (softmax,
    sigmoid or none; default what the model was trained for) and `truncate` (bool; default true).
    """

    auto_class = "AutoModelForSequenceClassification"

    def __init__(self, folder: Path, limits: Limits, hardware: Hardware | None = None) -> None:
        super().__init__(folder, limits, hardware)
        self._problem_type = read_json(folder / "config.json", {}).get("problem_type")

    def read_options(self, parameters: Mapping[str, Any]) -> tuple[Options, bool]:
        """Return which scores to show and how, and whether to truncate."""
        return _read_options(parameters, self._problem_type, labels=self._model.config.num_labels)

    def rows(self, output: Any, mask: Any, options: Options) -> list[Any]:  # noqa: ARG002  # the labels need no mask
        """Return the best labels of each text."""
        scores = _scores(output.logits.float(), options.function).tolist()
        return [_best(row, self._model.config.id2label, options.top_k) for row in scores]


def _read_options(parameters: Mapping[str, Any], problem_type: str | None, *, labels: int) -> tuple[Options, bool]:
    read = Parameters(parameters, known=("top_k", "function_to_apply", "truncate"))
    default = _default_function(problem_type, labels)
    function = read.choice("function_to_apply", _FUNCTIONS, default=default)
    return Options(top_k=read.count("top_k"), function=function), read.flag("truncate", default=True)


def _default_function(problem_type: str | None, labels: int) -> str:
    """Return what turns a model's numbers into scores: the choice that `transformers`' own pipeline makes."""
    if problem_type == "regression":
        return "none"
    return "sigmoid" if problem_type == "multi_label_classification" or labels == 1 else "softmax"


def _scores(logits: Any, function: str) -> Any:
    match function:
        case "softmax":
            return finite(logits.softmax(dim=-1))
        case "sigmoid":
            return finite(logits.sigmoid())
        case _:
            return finite(logits)


def _best(scores: list[float], labels: Mapping[int, str], top_k: int | None) -> list[dict[str, Any]]:
    best = sorted(enumerate(scores), key=lambda label: label[1], reverse=True)[:top_k]
    return [{"label": labels[index], "score": score} for index, score in best]
