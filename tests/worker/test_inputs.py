"""Whatever is wrong with a job's inputs is said in one line, and nothing else gets through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.engines.inputs import Parameters, read_texts
from worker.errors import InputError
from worker.settings import Limits

LIMITS = Limits(items_max=3, item_chars_max=10)
RUBBISH: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
)


def refusal(read: Callable[[], None]) -> str:
    """Return what reading was refused with, or an empty text. Any other error is the test's failure."""
    try:
        read()
    except InputError as exc:
        return str(exc)
    return ""


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        pytest.param(None, "not null", id="null"),
        pytest.param(7, "not a number", id="number"),
        pytest.param({"text": "a"}, "inputs must be a string or a list of strings, not an object", id="object"),
        pytest.param([], "inputs has 0 texts", id="empty list"),
        pytest.param(["a"] * 4, "inputs has 4 texts, and must have from 1 to 3", id="too many"),
        pytest.param(["a", ["b"]], r"inputs\[1\] is a list", id="list in a list"),
        pytest.param(["a", True], r"inputs\[1\] is a boolean", id="boolean in a list"),
        pytest.param("a\0", "inputs has a NUL character at position 1", id="NUL"),
        pytest.param(["a", "b\ud800"], r"inputs\[1\] has half a surrogate pair", id="surrogate"),
        pytest.param("a" * 11, "inputs has 11 characters, and may have 10", id="too long"),
    ],
)
def test_what_is_wrong_with_inputs_is_named(inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_texts(inputs, LIMITS)


def test_ten_megabytes_in_one_text_are_refused_unread() -> None:
    """A tokenizer would read all of it before cutting it to a few hundred tokens."""
    with pytest.raises(InputError, match="may have 100000"):
        read_texts("word " * 2_000_000, Limits())


@given(RUBBISH)
def test_rubbish_is_read_or_refused_in_one_printable_line(inputs: Any) -> None:
    def read() -> None:
        texts = read_texts(inputs, LIMITS)
        assert texts.shape(texts.texts) == (texts.texts[0] if isinstance(inputs, str) else list(texts.texts))
        assert all(text.encode() is not None for text in texts.texts)

    assert refusal(read).isprintable()


@given(
    st.dictionaries(st.text(st.characters(), max_size=100) | st.sampled_from(["flag", "count", "choice"]), RUBBISH)
)
def test_rubbish_parameters_are_refused_in_one_printable_line(parameters: dict[str, Any]) -> None:
    def read() -> None:
        given = Parameters(parameters, known=("flag", "count", "choice"))
        count = given.count("count")
        assert isinstance(given.flag("flag", default=True), bool)
        assert count is None or (count >= 1 and not isinstance(count, bool))
        assert given.choice("choice", ("a", "b"), default="a") in {"a", "b"}

    assert refusal(read).isprintable()


def test_an_unknown_parameter_is_refused() -> None:
    """Passing over a misspelt one would give a wrong answer without a word."""
    with pytest.raises(InputError, match="unknown parameter 'normalise'; this model's task takes: normalize"):
        Parameters({"normalise": False}, known=("normalize",))
