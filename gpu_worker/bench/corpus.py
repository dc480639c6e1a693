"""The texts that are embedded: plausible English, made from word lists with a fixed seed, of exact lengths in tokens.

Lengths are drawn evenly: each block of `BLOCK` texts has one of each `BLOCK`th of the distribution, in random order.
So a slow server, which answers fewer of them in the same time, has had texts as long as a fast one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from statistics import NormalDist

BLOCK = 32
SPECIAL_TOKENS = 2
"""Each text begins and ends with one; they count."""
QUERY_TOKENS_MAX = 64
_QUERY_TOKENS_MIN = 3
_MIXTURE_TOKENS_MIN, _MIXTURE_TOKENS_MAX = 5, 200
_QUERY_LOGARITHM = NormalDist(mu=math.log(13) - 0.6**2 / 2, sigma=0.6)
"""Of a query's tokens; their mean is 13."""
_WORDS = Path(__file__).with_name("words.txt")
"""Lines of `role: phrase, phrase, …`."""


class Mix(StrEnum):
    """How long the texts are."""

    QUERIES = "short queries"
    """Lognormal, 13 tokens on average, 64 at most."""
    MIXTURE = "5 to 200 tokens"
    """Each length as likely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text and its length."""

    text: str
    tokens: int


def make_texts(mix: Mix, count: int, *, count_tokens: Callable[[str], int], seed: int = 11) -> list[Text]:
    """Return the same texts for the same arguments.

    Args:
        mix: how long they are.
        count: how many.
        count_tokens: returns a word's tokens, punctuation included, without the special ones.
        seed: of lengths and words.
    """
    chance = random.Random(f"{mix} {seed}")  # noqa: S311  # no secret
    known: dict[str, int] = {}

    def counted(word: str) -> int:
        return known[word] if word in known else known.setdefault(word, count_tokens(word))

    phrases = _phrases()
    words = _query_words if mix is Mix.QUERIES else _prose_words
    return [
        Text(text=_fill(words(chance, phrases), tokens - SPECIAL_TOKENS, counted), tokens=tokens)
        for tokens in islice(_lengths(mix, chance), count)
    ]


def _lengths(mix: Mix, chance: random.Random) -> Iterator[int]:
    while True:
        block = [_length(mix, (place + chance.random()) / BLOCK) for place in range(BLOCK)]
        chance.shuffle(block)
        yield from block


def _length(mix: Mix, quantile: float) -> int:
    """Return the length that this part of the texts falls short of."""
    match mix:
        case Mix.QUERIES:
            drawn = math.exp(_QUERY_LOGARITHM.inv_cdf(min(max(quantile, 1e-9), 1 - 1e-9)))
            return min(QUERY_TOKENS_MAX, max(_QUERY_TOKENS_MIN, round(drawn)))
        case Mix.MIXTURE:
            return _MIXTURE_TOKENS_MIN + int(quantile * (_MIXTURE_TOKENS_MAX - _MIXTURE_TOKENS_MIN + 1))


def _fill(words: Iterator[str], tokens: int, count_tokens: Callable[[str], int]) -> str:
    """Take words until there are so many tokens; where the last ones do not fit, "so" fills the gap."""
    taken: list[str] = []
    while tokens > 0:
        word = next(words)
        fitting = word if count_tokens(word) <= tokens else "so"
        taken.append(fitting)
        tokens -= count_tokens(fitting)
    return " ".join(taken)


_Phrases = Mapping[str, Sequence[str]]
"""By their role in a sentence."""


def _prose_words(chance: random.Random, phrases: _Phrases) -> Iterator[str]:
    while True:
        clause = [chance.choice(phrases[role]) for role in ("who", "does", "what", "where", "when")]
        if chance.random() < 0.5:
            clause += [chance.choice(phrases[role]) for role in ("join", "who", "does", "what")]
        sentence = " ".join(clause)
        yield from f"{sentence[0].upper()}{sentence[1:]}.".split()


def _query_words(chance: random.Random, phrases: _Phrases) -> Iterator[str]:
    yield from chance.choice(phrases["ask"]).split()
    while True:
        yield from " ".join(chance.choice(phrases[role]) for role in ("do", "thing", "detail")).split()
        yield "and"


def _phrases() -> _Phrases:
    lines = [line.partition(": ") for line in _WORDS.read_text("utf-8").splitlines()]
    return {role: told.split(", ") for role, _, told in lines}
