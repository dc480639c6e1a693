"""How the labels of a text's tokens become entities: the strategies that transformers' own pipeline has; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

STRATEGIES = ("none", "simple", "first", "average", "max")
_OUTSIDE = "O"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token of a text."""

    index: int
    """Its place among all tokens, special ones included."""
    name: str
    """As the vocabulary has it."""
    start: int
    end: int
    """Of the text, in characters."""
    continues: bool
    """Whether it goes on with the word of the token before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labelled:
    label: str
    score: float
    word: str
    first: Token
    last: Token

    @property
    def tag(self) -> str:
        """The label without the prefix that says begin or inside."""
        return self.label[2:] if self.label.startswith(("B-", "I-")) else self.label

    def follows(self, other: _Labelled) -> bool:
        """Return whether both are of one entity."""
        return self.tag == other.tag and not self.label.startswith("B-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entities:
    """Finds entities by one strategy."""

    labels: Mapping[int, str]
    strategy: str
    join: Callable[[list[str]], str]
    """Makes text of tokens' names."""

    def find(self, tokens: Sequence[Token], scores: Any) -> list[dict[str, Any]]:
        """Return a text's entities, JSON-ready.

        Args:
            tokens: those of the text itself.
            scores: an array, all tokens by labels.
        """
        if self.strategy in ("none", "simple"):
            found = [self._label([token], scores[token.index], token.name) for token in tokens]
        else:
            found = [self._label_word(word, scores) for word in _cut(tokens, lambda _, token: not token.continues)]
        if self.strategy == "none":
            return [_alone(one) for one in found if one.label != _OUTSIDE]
        groups = _cut(found, lambda before, one: not one.follows(before))
        entities = [self._group(group) for group in groups]
        return [entity for entity in entities if entity["entity_group"] != _OUTSIDE]

    def _label_word(self, word: Sequence[Token], scores: Any) -> _Labelled:
        """Give a word one label, whatever its tokens say."""
        table = scores[[token.index for token in word]]
        match self.strategy:
            case "first":
                chosen = table[0]
            case "max":
                chosen = table[table.max(axis=1).argmax()]
            case _:
                chosen = table.mean(axis=0)
        return self._label(word, chosen, self.join([token.name for token in word]))

    def _label(self, tokens: Sequence[Token], scores: Any, word: str) -> _Labelled:
        best = int(scores.argmax())
        return _Labelled(
            label=self.labels[best], score=float(scores[best]), word=word, first=tokens[0], last=tokens[-1]
        )

    def _group(self, group: Sequence[_Labelled]) -> dict[str, Any]:
        return {
            # A label such as TIME-OF-DAY loses its first part: that is how the pipeline names it.
            "entity_group": group[0].label.split("-", 1)[-1],
            "score": sum(one.score for one in group) / len(group),
            "word": self.join([one.word for one in group]),
            "start": group[0].first.start,
            "end": group[-1].last.end,
        }


def _alone(one: _Labelled) -> dict[str, Any]:
    return {
        "entity": one.label,
        "score": one.score,
        "index": one.first.index,
        "word": one.word,
        "start": one.first.start,
        "end": one.last.end,
    }


def _cut(things: Sequence[Any], is_cut: Callable[[Any, Any], bool]) -> list[list[Any]]:
    """Divide things into groups, between any two neighbours that do not belong together."""
    groups = [[thing] for thing in things[:1]]
    for before, thing in pairwise(things):
        if is_cut(before, thing):
            groups.append([thing])
        else:
            groups[-1].append(thing)
    return groups
