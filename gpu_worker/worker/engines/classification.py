"""Text classification: the labels of each text with their scores, best first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.engines.folder import read_json
from worker.engines.inputs import Parameters
from worker.engines.text import TextEngine, finite
from worker.settings import Limits

_FUNCTIONS = ("softmax", "sigmoid", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a job wants to see of its scores."""

    top_k: int | None
    function: str


class TextClassificationEngine(TextEngine[Options]):
    """Takes a text or a list of texts, and returns a list of `{label, score}` or a list of such lists.

    Parameters: `top_k` (whole number or null; default null, which is all labels), `function_to_apply` (softmax,
    sigmoid or none; default what the model was trained for) and `truncate` (bool; default true).
    """

    auto_class = "AutoModelForSequenceClassification"

    def __init__(self, folder: Path, limits: Limits) -> None:
        super().__init__(folder, limits)
        self._problem_type = read_json(folder / "config.json", {}).get("problem_type")

    def read_options(self, parameters: Mapping[str, Any]) -> tuple[Options, bool]:
        """Return which scores to show and how, and whether to truncate."""
        read = Parameters(parameters, known=("top_k", "function_to_apply", "truncate"))
        function = read.choice("function_to_apply", _FUNCTIONS, default=self._default_function())
        return Options(top_k=read.count("top_k"), function=function), read.flag("truncate", default=True)

    def rows(self, output: Any, mask: Any, options: Options) -> list[Any]:  # noqa: ARG002  # the labels need no mask
        """Return the best labels of each text."""
        logits = output.logits.float()
        match options.function:
            case "softmax":
                scores = logits.softmax(dim=-1)
            case "sigmoid":
                scores = logits.sigmoid()
            case _:
                scores = logits
        return [self._best(row, options.top_k) for row in finite(scores).tolist()]

    def _best(self, scores: list[float], top_k: int | None) -> list[dict[str, Any]]:
        labels = self._model.config.id2label
        best = sorted(enumerate(scores), key=lambda label: label[1], reverse=True)[:top_k]
        return [{"label": labels[index], "score": score} for index, score in best]

    def _default_function(self) -> str:
        """Return what turns this model's numbers into scores: the choice that `transformers`' own pipeline makes."""
        if self._problem_type == "regression":
            return "none"
        labels = self._model.config.num_labels
        return "sigmoid" if self._problem_type == "multi_label_classification" or labels == 1 else "softmax"
