"""A text as it is written: whole characters, and nothing that may turn out to be a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]

_UNFINISHED = "\ufffd"
"""What a tokenizer makes of half a character."""
_CONTEXT_TOKENS = 6
"""Of what is written already, read again with each new token: a word's beginning may need what is before it."""


class Transcript:
    """Turns tokens into pieces of text. The pieces together are the text.

    Args:
        decode: turns tokens into text.
        stops: strings at the first of which the text ends; none of it is part of the text.
    """

    def __init__(self, decode: Decode, stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stops = stops
        self._tokens: list[int] = []
        self._read = 0
        """Tokens whose text is known."""
        self._held = ""
        """Text that may be the beginning of a stop string."""
        self.text = ""
        """What was handed out."""
        self.stopped = False
        """Whether a stop string was written."""

    def add(self, token: int) -> str:
        """Take the next token, and return the next piece, which may be empty."""
        self._tokens.append(token)
        new = self._new()
        if new.endswith(_UNFINISHED):
            return ""
        self._read = len(self._tokens)
        return self._take(new)

    def end(self) -> str:
        """Return the last piece: what was held back, and half a character for what it is."""
        if self.stopped:
            return ""
        new, self._read = self._new(), len(self._tokens)
        piece, held = self._take(new), self._held
        self.text, self._held = self.text + held, ""
        return piece + held

    def _new(self) -> str:
        """Return the text of the tokens that are not read yet, as it is behind those before."""
        begin = max(0, self._read - _CONTEXT_TOKENS)
        before = self._decode(self._tokens[begin : self._read])
        return self._decode(self._tokens[begin:])[len(before) :]

    def _take(self, new: str) -> str:
        """Hand out text up to a stop string, or up to what may become one."""
        text = self._held + new
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            piece = text[: min(found)]
        else:
            kept = max((_overlap(text, stop) for stop in self._stops), default=0)
            piece, self._held = text[: len(text) - kept], text[len(text) - kept :]
        self.text += piece
        return piece


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the text's end are the beginning of a stop string."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
