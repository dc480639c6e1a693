"""Token ids of texts by their words, each of which is tokenized once: most of a text is words that came before.

A WordPiece tokenizer of the BERT family divides a text at spaces and around each sign of punctuation, and looks at
nothing beyond those, before it divides as after. So a text's ids are those of its words, one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

_KEPT_MAX = 32_768
"""Words; with their ids some 6 MB."""
_CHARS_MAX = 64
"""Of a word that is kept. A stranger's text may be one long word."""
_SIGNS = r"!-/:-@\[-`{-~"
_DIVIDED = re.compile(rf"[^ \t\n\r{_SIGNS}]+|[{_SIGNS}]")
"""A word, or a sign by itself. What else divides a text, as Chinese characters do, is left within a word."""
_SAMPLE = "a"


class Words:
    """The words of one tokenizer, which never changes. Safe to use from several threads.

    Args:
        tokenizer: one that `divides`.
        tokens_max: of the texts that are asked for.
    """

    def __init__(self, tokenizer: Tokenizer, *, tokens_max: int) -> None:
        ids = tokenizer.encode(_SAMPLE).ids
        at = ids.index(*tokenizer.encode(_SAMPLE, add_special_tokens=False).ids)
        self._before, self._behind = ids[:at], ids[at + 1 :]
        self._tokens_max = tokens_max
        self._folds = tokenizer.normalizer.lowercase
        self._added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        self._ids_of = lru_cache(_KEPT_MAX)(lambda word: _ids(tokenizer, word))

    def encode(self, text: str) -> list[int] | None:
        """Return a text's ids, special ones included; None if they are not those of its words.

        So it is with too many of them, words too long to be kept, and tokens such as "[SEP]" that are spelt out.
        """
        if any(added in text for added in self._added):
            return None
        # Beyond ASCII there is more than one way to fold.
        words = _DIVIDED.findall(text.lower() if self._folds and text.isascii() else text)
        if max(map(len, words), default=0) > _CHARS_MAX:
            return None
        ids = [*self._before, *chain.from_iterable(map(self._ids_of, words)), *self._behind]
        return ids if len(ids) <= self._tokens_max else None


def divides(tokenizer: Tokenizer) -> bool:
    """Tell whether a tokenizer looks at each word by itself."""
    return (
        isinstance(tokenizer.model, WordPiece)
        and isinstance(tokenizer.normalizer, BertNormalizer)
        and isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
        # Others are looked for in what a text becomes.
        and not any(token.normalized for token in tokenizer.get_added_tokens_decoder().values())
        and _is_seen(tokenizer)
    )


def _is_seen(tokenizer: Tokenizer) -> bool:
    """Tell whether a word's ids can be told from special ones, of which there are some, and all are of type 0."""
    whole, bare = (tokenizer.encode(_SAMPLE, add_special_tokens=special) for special in (True, False))
    return len(whole.ids) > len(bare.ids) == 1 == whole.ids.count(bare.ids[0]) and not any(whole.type_ids)


def _ids(tokenizer: Tokenizer, word: str) -> Sequence[int]:
    # A tuple: what is kept must not be changed.
    return tuple(tokenizer.encode_batch_fast([word], add_special_tokens=False)[0].ids)
