"""Token ids of texts by their words, each of which is tokenized once: most of a text is words that came before.

A WordPiece tokenizer of the BERT family looks at nothing beyond a space, neither while it normalizes a text nor while
it divides it. So the ids of a text are those of its words, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

_KEPT_MAX = 32_768
"""Words; with their ids some 8 MB at most in most languages."""
_CHARS_MAX = 64
"""Of a word that is kept. A stranger's text may be one long word."""
_SAMPLE = "a"


class Words:
    """The words of one tokenizer, which never changes. Safe to use from several threads.

    Args:
        tokenizer: one that `divides` at spaces.
        tokens_max: of the texts that are asked for.
    """

    def __init__(self, tokenizer: Tokenizer, *, tokens_max: int) -> None:
        ids = tokenizer.encode(_SAMPLE).ids
        at = ids.index(*tokenizer.encode(_SAMPLE, add_special_tokens=False).ids)
        self._before, self._behind = ids[:at], ids[at + 1 :]
        self._tokens_max = tokens_max
        self._ids_of = lru_cache(_KEPT_MAX)(lambda word: _ids(tokenizer, word))

    def encode(self, text: str) -> list[int] | None:
        """Return a text's ids, special ones included; None if it has too many, or words too long to be kept."""
        words = text.split(" ")
        if max(map(len, words)) > _CHARS_MAX:
            return None
        ids = [*self._before, *chain.from_iterable(map(self._ids_of, words)), *self._behind]
        return ids if len(ids) <= self._tokens_max else None


def divides(tokenizer: Tokenizer) -> bool:
    """Tell whether a tokenizer looks at each word by itself."""
    added = tokenizer.get_added_tokens_decoder().values()
    return (
        isinstance(tokenizer.model, WordPiece)
        and isinstance(tokenizer.normalizer, BertNormalizer)
        and isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
        # One of several words is found before a text is divided.
        and not any(any(map(str.isspace, token.content)) for token in added)
        and _is_seen(tokenizer)
    )


def _is_seen(tokenizer: Tokenizer) -> bool:
    """Tell whether a word's ids can be told from special ones, of which there are some, and all are of type 0."""
    whole, bare = (tokenizer.encode(_SAMPLE, add_special_tokens=special) for special in (True, False))
    return len(whole.ids) > len(bare.ids) == 1 == whole.ids.count(bare.ids[0]) and not any(whole.type_ids)


def _ids(tokenizer: Tokenizer, word: str) -> Sequence[int]:
    # A tuple: what is kept must not be changed.
    return tuple(tokenizer.encode_batch_fast([word], add_special_tokens=False)[0].ids)
