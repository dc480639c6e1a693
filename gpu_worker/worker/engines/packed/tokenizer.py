"""Tokens of texts and of pairs of texts, by the `tokenizers` library straight from `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer
from tokenizers.normalizers import BertNormalizer

from worker.engines.packed.shapes import Shape
from worker.engines.packed.words import Words, divides
from worker.errors import ModelError
from worker.folder import read_json

Text = str | tuple[str, str]
"""A text, or a pair of them for a model that judges pairs."""

_FILE = "tokenizer.json"
_CLASSES_WITHOUT_TYPES = ("Roberta", "XLMRoberta", "Camembert", "MPNet", "DistilBert")
"""Beginnings of the tokenizer classes that never give a model token types."""
_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""What tokenizer_config.json calls the settings of the normalizer in tokenizer.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One text, or one pair, as the model takes it."""

    ids: list[int]
    """Special tokens included."""
    type_ids: list[int] | None
    """None where the model is to be given none, and where all are 0."""
    spans: list[tuple[int, int]] | None
    """Where in its text each token is, in characters; (0, 0) for special tokens. None unless asked for."""

    def __len__(self) -> int:
        return len(self.ids)


class PackedTokenizer:
    """A folder's tokenizer. It never changes after loading, so several threads may use it."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, *, tokens_max: int, typed: bool, side: str) -> None:
        self.tokens_max = tokens_max
        """Longer texts are cut to this many tokens, special ones included, or refused by the caller."""
        self._folder, self._side, self._typed = folder, side, typed
        self._cutting = _cut(tokenizer, tokens_max, side)
        self._words = Words(tokenizer, tokens_max=tokens_max) if divides(tokenizer) else None

    @classmethod
    def load(cls, folder: Path, shape: Shape, *, tokens_max: int | None = None) -> PackedTokenizer:
        """Read a folder's tokenizer.

        Args:
            folder: of the model.
            shape: of the model; it says how many positions there are.
            tokens_max: what else is known to be the longest text, if anything.

        Raises:
            ModelError: there is none, or its settings are in conflict with each other.
        """
        config: Any = read_json(folder / "tokenizer_config.json", {})
        tokenizer = _read(folder)
        _check(tokenizer, config)
        said = (tokens_max, config.get("model_max_length"), shape.tokens_max)
        longest = min(int(tokens) for tokens in said if tokens and tokens > 0)
        side = str(config.get("truncation_side", "right"))
        return cls(folder, tokenizer, tokens_max=longest, typed=shape.types > 1 and _typed(config), side=side)

    def encode(self, texts: Sequence[Text], *, truncate: bool = True, spans: bool = False) -> list[Tokens]:
        """Return the tokens of texts or pairs, in order.

        A text that is too long is cut to `tokens_max` tokens; without `truncate`, to one more than that, which tells
        the caller that it is too long. Of a pair, the longer text is cut first.
        """
        known = [None if spans else self._known(text) for text in texts]
        unknown = [text for text, tokens in zip(texts, known, strict=True) if tokens is None]
        rest = iter(self._encode(unknown, truncate=truncate, spans=spans) if unknown else ())
        return [next(rest) if tokens is None else tokens for tokens in known]

    def _known(self, text: Text) -> Tokens | None:
        """Return the tokens of a text by its words; None where they do not tell them."""
        ids = self._words.encode(text) if self._words is not None and isinstance(text, str) else None
        return None if ids is None else Tokens(ids=ids, type_ids=None, spans=None)

    def _encode(self, texts: list[Text], *, truncate: bool, spans: bool) -> list[Tokens]:
        tokenizer = self._cutting if truncate else self._telling
        encode = tokenizer.encode_batch if spans else tokenizer.encode_batch_fast
        return [self._tokens(encoding, spans=spans) for encoding in encode(texts)]

    @cached_property
    def _telling(self) -> Tokenizer:
        # A second one, for changing the first would change it under another thread.
        return _cut(_read(self._folder), self.tokens_max + 1, self._side)

    def _tokens(self, encoding: Encoding, *, spans: bool) -> Tokens:
        return Tokens(
            ids=encoding.ids,
            type_ids=encoding.type_ids if self._typed and any(encoding.type_ids) else None,
            spans=encoding.offsets if spans else None,
        )


def _read(folder: Path) -> Tokenizer:
    path = folder / _FILE
    if not path.is_file():
        raise ModelError(f"the model's folder has no {_FILE}")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as exc:  # the library raises Exception itself
        raise ModelError(f"{_FILE} of the model cannot be read: {exc}") from exc


def _cut(tokenizer: Tokenizer, tokens_max: int, side: str) -> Tokenizer:
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens_max, strategy="longest_first", direction=side)
    return tokenizer


def _check(tokenizer: Tokenizer, config: Mapping[str, Any]) -> None:
    """Refuse a folder whose two files differ on how text is normalized: `transformers` has rules for who is right."""
    normalizer = tokenizer.normalizer
    if not isinstance(normalizer, BertNormalizer):
        return
    for key, attribute in _NORMALIZER.items():
        if key in config and config[key] != getattr(normalizer, attribute):
            raise ModelError(f"tokenizer_config.json and {_FILE} of the model differ in {key}")


def _typed(config: Mapping[str, Any]) -> bool:
    """Tell whether this tokenizer gives the model token types."""
    if "model_input_names" in config:
        return "token_type_ids" in config["model_input_names"]
    return not str(config.get("tokenizer_class", "")).startswith(_CLASSES_WITHOUT_TYPES)
