"""Reranking: how well each of some texts answers a query, by a cross-encoder that reads both at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gate import wire
from worker.engine import Work
from worker.engines.general.text import TextEngine, finite, to_items
from worker.engines.inputs import Parameters, read_list, read_object, read_text
from worker.errors import InputError, ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a job wants to see of its ranking."""

    raw_scores: bool
    top_n: int | None


class RerankingEngine(TextEngine[Options]):
    """Takes `{query, texts}`, and returns a list of `{index, score}`, best first.

    Parameters: `raw_scores` (bool; default false, which puts scores between 0 and 1 by a sigmoid), `top_n` (whole
    number or null; default null, which is all texts) and `truncate` (bool; default true: of a pair that is too long,
    the longer one is cut).
    """

    auto_class = "AutoModelForSequenceClassification"
    sample_inputs = {"query": "warm up", "texts": ["a text", "a second text, so that padding is tried too"]}  # noqa: RUF012  # never written

    def load(self) -> None:
        """Read the model, and refuse one that gives a pair more than one score."""
        super().load()
        labels = self._model.config.num_labels
        if labels != 1:
            raise ModelError(f"the model has {labels} labels, and a reranker has one; say in TASK what it is for")

    def read_options(self, parameters: Mapping[str, Any]) -> tuple[Options, bool]:
        """Return which scores to show and how, and whether to truncate."""
        read = Parameters(parameters, known=("raw_scores", "top_n", "truncate"))
        options = Options(raw_scores=read.flag("raw_scores", default=False), top_n=read.count("top_n"))
        return options, read.flag("truncate", default=True)

    def prepare(self, body: wire.WorkBody) -> Work:
        """Pair the query with each text. What a job wants to see makes no difference to the model."""
        options, truncate = self.read_options(body.parameters)
        fields = read_object(body.inputs, "inputs", ("query", "texts"))
        query = read_text(fields["query"], "inputs.query", self._limits)
        texts = read_list(fields["texts"], "inputs.texts", self._limits)
        # One token more than fits shows which pairs are too long, without reading on.
        tokens_max = self._tokens_max + (not truncate)
        encoded = self._tokenize([query] * len(texts), texts, truncation="longest_first", max_length=tokens_max)
        for index, tokens in enumerate(encoded["input_ids"]):
            if len(tokens) > self._tokens_max:
                raise InputError(
                    f"inputs.query and inputs.texts[{index}] have over {self._tokens_max} tokens, "
                    "and truncate is false"
                )
        return Work(items=to_items(encoded.data, None), finish=lambda rows: _ranked(rows, options))

    def rows(self, output: Any, mask: Any, options: object) -> list[Any]:  # noqa: ARG002  # one number needs neither
        """Return one raw score for each pair."""
        scores: list[Any] = finite(output.logits.float())[:, 0].tolist()
        return scores


def _ranked(scores: Sequence[float], options: Options) -> list[dict[str, Any]]:
    """Return the best texts. Of equal ones, the first comes first."""
    best = sorted(range(len(scores)), key=lambda index: scores[index], reverse=True)[: options.top_n]
    show = float if options.raw_scores else _sigmoid
    return [{"index": index, "score": show(scores[index])} for index in best]


def _sigmoid(value: float) -> float:
    # Written so that a large negative score is no overflow.
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
