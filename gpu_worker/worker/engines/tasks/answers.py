"""How the logits of a context's windows become answers: as the pipeline of transformers 4 did it; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A question with a part of its context, as the tokenizer made it."""

    encoding: Any
    context: range
    """Places of the context's tokens."""
    cls: tuple[int, ...]
    """Places of tokens that stand for the empty answer."""

    @classmethod
    def of(cls, encoding: Any, *, cls_id: int | None) -> Window:
        """Find the parts of an encoding whose second text is the context."""
        places = [place for place, sequence in enumerate(encoding.sequence_ids) if sequence == 1]
        return cls(
            encoding=encoding,
            context=range(places[0], places[-1] + 1) if places else range(0),
            cls=tuple(place for place, token in enumerate(encoding.ids) if token == cls_id),
        )

    def chars(self, first: int, last: int) -> tuple[int, int]:
        """Return where an answer stands in the context: whole words, where the tokenizer knows words."""
        words = [self.encoding.token_to_word(place) for place in (first, last)]
        if None in words:
            return self.encoding.offsets[first][0], self.encoding.offsets[last][1]
        return self.encoding.word_to_chars(words[0], 1)[0], self.encoding.word_to_chars(words[1], 1)[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Chooses a question's best answers."""

    top_k: int
    tokens_max: int
    """Of one answer."""
    may_be_none: bool
    """Whether the empty answer is one."""

    def choose(self, context: str, windows: Sequence[tuple[Window, Any]]) -> Any:
        """Return the best answer, or a list of the best if more than one was asked for.

        Args:
            context: of the question.
            windows: each with its two rows of logits, of beginnings and of ends.
        """
        found: dict[str, dict[str, Any]] = {}
        least_null = math.inf
        for window, logits in windows:
            begins, ends = (_probabilities(row, [*window.context, *window.cls]) for row in logits)
            least_null = min(least_null, float(begins[0] * ends[0]))
            for score, first, last in self._candidates(window, begins, ends):
                _add(found, context, score, *window.chars(first, last))
        answers = list(found.values())
        if self.may_be_none or not answers:
            none_score = least_null if self.may_be_none else 0.0
            answers.append({"score": none_score, "start": 0, "end": 0, "answer": ""})
        answers.sort(key=lambda answer: answer["score"], reverse=True)
        return answers[0] if self.top_k == 1 else answers[: self.top_k]

    def _candidates(self, window: Window, begins: Any, ends: Any) -> list[tuple[float, int, int]]:
        """Return the likeliest spans of a window's context, best first.

        They are more than are asked for, because several may turn out to be the same words.
        """
        import numpy as np  # comes with torch

        context = slice(window.context.start, window.context.stop)
        scores = np.outer(begins[context], ends[context])
        scores = np.tril(np.triu(scores), self.tokens_max - 1).ravel()
        count = min(2 * self.top_k + 10, scores.size)
        best: list[int] = np.argpartition(-scores, count - 1)[:count].tolist() if count else []
        ordered = sorted((place for place in best if scores[place] > 0), key=lambda place: -scores[place])
        width, shift = len(window.context), window.context.start
        return [(float(scores[place]), place // width + shift, place % width + shift) for place in ordered]


def _probabilities(logits: Any, places: Sequence[int]) -> Any:
    """Return the softmax over some places; everywhere else is 0."""
    import numpy as np  # comes with torch

    values = np.zeros_like(logits)
    if places:
        values[places] = np.exp(logits[places] - logits[places].max())
        values /= values.sum()
    return values


def _add(found: dict[str, dict[str, Any]], context: str, score: float, start: int, end: int) -> None:
    """Count an answer. Its like, found before in another place, gets its score."""
    answer = context[start:end]
    same = found.setdefault(answer.lower(), {"score": 0.0, "start": start, "end": end, "answer": answer})
    same["score"] += score
