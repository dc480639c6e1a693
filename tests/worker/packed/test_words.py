"""Texts by their words: the very ids that the library gives for the whole text, or none at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from worker.engines.packed.words import Words, divides

TOKENS_MAX = 32
SPECIAL = (
    "[SEP]",
    "[CLS]x",
    "[mask]",
    "##ing",
    "Don't",
    "_x_",
    "\r\n",
    "\x0b",
    "\x1f",
    "“q”",
    "a\x7fb",
    "e\u0301",
    "\u0301",
    "ΟΔΥΣΣΕΥΣ",
    "İ",
    "中",
    "\t",
    "\u00a0",
    "\x07",
    "\u200d",
)
texts = st.lists(
    st.one_of(st.sampled_from(SPECIAL), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))),
    max_size=12,
).flatmap(lambda parts: st.sampled_from(["", " ", "  "]).map(lambda space: space.join(parts)))


@pytest.fixture(scope="module")
def library(minilm_folder: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(minilm_folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS_MAX)
    return tokenizer


@settings(deadline=None, max_examples=400)
@given(text=texts)
def test_a_text_has_the_ids_that_the_library_gives_it(library: Tokenizer, text: str) -> None:
    """Whatever stands beside a space or a sign: marks, controls, letters whose lower case depends on others."""
    ids = Words(library, tokens_max=TOKENS_MAX).encode(text)

    assert ids is None or ids == library.encode(text).ids


def test_a_word_that_came_before_is_the_same_again(library: Tokenizer) -> None:
    """Though whoever had it first has changed what they got."""
    words = Words(library, tokens_max=TOKENS_MAX)
    first = words.encode("an unbelievable sentence")
    assert first is not None
    expected = list(first)
    first.clear()

    assert words.encode("an unbelievable sentence") == expected


def test_what_words_do_not_tell_is_left_to_the_library(library: Tokenizer) -> None:
    """Too many tokens, words too long to be kept, and special tokens that are spelt out."""
    words = Words(library, tokens_max=TOKENS_MAX)

    assert words.encode("a " * 29 + "a") is not None
    assert words.encode("a " * 30 + "a") is None
    assert words.encode("a" * 65) is None
    assert words.encode("a [SEP] b") is None
    assert words.encode("") == library.encode("").ids


def _with_two_words(tokenizer: Tokenizer) -> None:
    tokenizer.add_tokens([AddedToken("new york")])


def _without_special_tokens(tokenizer: Tokenizer) -> None:
    tokenizer.post_processor = None


def _of_other_words(tokenizer: Tokenizer) -> None:
    tokenizer.pre_tokenizer = Whitespace()


def _of_another_model(tokenizer: Tokenizer) -> None:
    tokenizer.model = WordLevel({"a": 0, "[UNK]": 1}, "[UNK]")


@pytest.mark.parametrize("change", [_with_two_words, _without_special_tokens, _of_other_words, _of_another_model])
def test_a_tokenizer_of_another_kind_is_left_to_the_library(
    library: Tokenizer, change: Callable[[Tokenizer], None]
) -> None:
    other = Tokenizer.from_str(library.to_str())
    assert divides(other)
    change(other)

    assert not divides(other)
