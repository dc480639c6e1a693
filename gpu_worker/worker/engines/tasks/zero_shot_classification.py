"""Zero-shot classification: how well labels that the job brings fit a text, by a model of entailment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate import wire
from worker.engine import Work
from worker.engines.general.text import TextEngine, finite, to_items
from worker.engines.inputs import Parameters, Texts, read_list, read_text, read_texts
from worker.errors import InputError, ModelError
from worker.settings import Hardware, Limits

_TEMPLATE = "This example is {}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The labels of a job, and how they are put to the model."""

    labels: tuple[str, ...]
    template: str
    multi_label: bool

    def hypotheses(self) -> list[str]:
        """Return one sentence for each label. The template is no format string: that could ask for anything."""
        return [self.template.replace("{}", label) for label in self.labels]


class ZeroShotEngine(TextEngine[Options]):
    """Takes a text or a list of texts, and returns `{sequence, labels, scores}`, best first, or a list of those.

    Parameters: `candidate_labels` (list of strings, or one string with commas between), `hypothesis_template` (string
    with one `{}`; default "This example is {}."), `multi_label` (bool; default false: scores add up to 1) and
    `truncate` (bool; default true: the text is cut, its label never).
    """

    auto_class = "AutoModelForSequenceClassification"
    sample_parameters = {"candidate_labels": ["a label", "a second label"]}  # noqa: RUF012  # never written

    def __init__(self, folder: Path, limits: Limits, hardware: Hardware | None = None) -> None:
        super().__init__(folder, limits, hardware)
        self._entailment = 0
        self._contradiction = 0

    def load(self) -> None:
        """Read the model, and find which of its labels says that a text entails another."""
        super().load()
        ids = [index for label, index in self._model.config.label2id.items() if label.lower().startswith("entail")]
        if not ids:
            raise ModelError(
                f"none of the model's labels is called entailment, but {', '.join(self._model.config.label2id)}"
            )
        self._entailment = ids[0]
        # The choice that the pipeline of transformers makes, too: the other end of the list.
        self._contradiction = self._model.config.num_labels - 1 if self._entailment == 0 else 0

    def read_options(self, parameters: Mapping[str, Any]) -> tuple[Options, bool]:
        """Return the labels and how to use them, and whether to truncate."""
        read = Parameters(parameters, known=("candidate_labels", "hypothesis_template", "multi_label", "truncate"))
        template = read_text(parameters.get("hypothesis_template", _TEMPLATE), "hypothesis_template", self._limits)
        if template.count("{}") != 1:
            raise InputError("parameter hypothesis_template must have one {} where the label goes")
        labels = self._read_labels(parameters.get("candidate_labels"))
        multi_label = read.flag("multi_label", default=False)
        options = Options(labels=tuple(labels), template=template, multi_label=multi_label)
        return options, read.flag("truncate", default=True)

    def prepare(self, body: wire.WorkBody) -> Work:
        """Put each label to each text."""
        options, truncate = self.read_options(body.parameters)
        texts = read_texts(body.inputs, self._limits)
        count = len(texts.texts) * len(options.labels)
        if count > self._limits.items_max:
            raise InputError(
                f"{len(texts.texts)} texts with {len(options.labels)} labels are {count} pairs, "
                f"and may be {self._limits.items_max}"
            )
        hypotheses = options.hypotheses()
        self._check_lengths(texts, hypotheses, truncate=truncate)
        encoded = self._tokenize(
            [text for text in texts.texts for _ in hypotheses],
            hypotheses * len(texts.texts),
            truncation="only_first",
            max_length=self._tokens_max,
        )
        return Work(items=to_items(encoded.data, None), finish=lambda rows: self._finish(rows, texts, options))

    def rows(self, output: Any, mask: Any, options: object) -> list[Any]:  # noqa: ARG002  # labels need neither
        """Return the logits of entailment and of its contrary for each pair."""
        rows: list[Any] = finite(output.logits.float())[:, [self._entailment, self._contradiction]].tolist()
        return rows

    def _read_labels(self, value: Any) -> list[str]:
        if value is None:
            raise InputError("parameter candidate_labels is missing; give the labels to choose from")
        if isinstance(value, str):
            value = [label.strip() for label in value.split(",") if label.strip()]
        return read_list(value, "candidate_labels", self._limits)

    def _check_lengths(self, texts: Texts, hypotheses: list[str], *, truncate: bool) -> None:
        """Refuse a label that leaves no room for a text, and a text that would be cut although it may not be."""
        special = self._tokenizer.num_special_tokens_to_add(pair=True)
        longest = 0
        for index, tokens in enumerate(self._count(hypotheses)):
            if tokens + special >= self._tokens_max:
                raise InputError(f"candidate_labels[{index}] leaves no room for a text in {self._tokens_max} tokens")
            longest = max(longest, tokens)
        if truncate:
            return
        for index, tokens in enumerate(self._count(list(texts.texts))):
            if tokens + longest + special > self._tokens_max:
                raise InputError(
                    f"{texts.name(index)} and a label have over {self._tokens_max} tokens, and truncate is false"
                )

    def _count(self, texts: list[str]) -> list[int]:
        encoded = self._tokenize(texts, add_special_tokens=False, truncation=True, max_length=self._tokens_max)
        return [len(tokens) for tokens in encoded["input_ids"]]

    def _finish(self, rows: Sequence[Any], texts: Texts, options: Options) -> Any:
        count = len(options.labels)
        groups = [rows[first : first + count] for first in range(0, len(rows), count)]
        return texts.shape([_scored(text, group, options) for text, group in zip(texts.texts, groups, strict=True)])


def _scored(text: str, rows: Sequence[tuple[float, float]], options: Options) -> dict[str, Any]:
    """Return a text's labels, best first."""
    import numpy as np  # comes with torch

    logits = np.asarray(rows)
    if options.multi_label or len(rows) == 1:
        scores = 1 / (1 + np.exp(np.clip(logits[:, 1] - logits[:, 0], -700, 700)))
    else:
        shifted = np.exp(logits[:, 0] - logits[:, 0].max())
        scores = shifted / shifted.sum()
    best = np.argsort(-scores, kind="stable").tolist()
    return {
        "sequence": text,
        "labels": [options.labels[index] for index in best],
        "scores": [float(scores[index]) for index in best],
    }
