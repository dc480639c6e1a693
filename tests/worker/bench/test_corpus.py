"""The texts that are embedded."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from bench.corpus import BLOCK, QUERY_TOKENS_MAX, Mix, make_texts


def one_a_word(word: str) -> int:
    """Count as a simple tokenizer would: a full stop is a token of its own."""
    return 1 + word.endswith(".")


@pytest.fixture(scope="module")
def tokenizer(minilm_folder: Path) -> Tokenizer:
    read = Tokenizer.from_file(str(minilm_folder / "tokenizer.json"))
    read.no_truncation()
    read.no_padding()
    return read


@pytest.mark.parametrize("mix", list(Mix))
def test_a_text_is_as_long_as_it_says(mix: Mix, tokenizer: Tokenizer) -> None:
    """By the model's own tokenizer, special tokens included; else the mixtures would not be what they are called."""
    count_tokens: Callable[[str], int] = lambda word: len(tokenizer.encode(word, add_special_tokens=False).ids)  # noqa: E731
    texts = make_texts(mix, 4 * BLOCK, count_tokens=count_tokens)

    assert [len(tokenizer.encode(text.text).ids) for text in texts] == [text.tokens for text in texts]


def test_queries_are_short() -> None:
    lengths = [text.tokens for text in make_texts(Mix.QUERIES, 1_024, count_tokens=one_a_word)]

    assert statistics.mean(lengths) == pytest.approx(13, abs=0.3)
    assert max(lengths) <= QUERY_TOKENS_MAX


def test_the_mixture_is_even() -> None:
    lengths = [text.tokens for text in make_texts(Mix.MIXTURE, 1_024, count_tokens=one_a_word)]

    assert (min(lengths), max(lengths)) == (5, 200)
    assert statistics.mean(lengths) == pytest.approx(102.5, abs=0.5)


@pytest.mark.parametrize("mix", list(Mix))
def test_every_block_is_like_the_whole(mix: Mix) -> None:
    """A slow server answers fewer texts in a round; they must not be easier ones."""
    lengths = [text.tokens for text in make_texts(mix, 16 * BLOCK, count_tokens=one_a_word)]
    means = [statistics.mean(lengths[at : at + BLOCK]) for at in range(0, len(lengths), BLOCK)]

    assert max(means) / min(means) < 1.15


def test_texts_are_the_same_in_every_run() -> None:
    """Numbers of two days are of the same work."""
    one, other = (make_texts(Mix.MIXTURE, 40, count_tokens=one_a_word) for _ in range(2))

    assert one == other
    assert len({text.text for text in one}) == 40
