"""How much fits into memory at once, learned from what did and what did not.

What does not fit halves the bound. What fits raises it again, half of the way to the least that did not, until the
two are close; and that is forgotten after a while, for somebody else may have had the memory.
"""

from __future__ import annotations

_STEP_AFTER = 8
"""Batches of nearly the bound that must have fitted before more is tried: each failure costs a batch."""
_NEARLY = 0.5
_CLOSE = 1.125
_FORGET_AFTER = 2_000


class Fit:
    """A bound in tokens. It belongs to the compute thread.

    Args:
        most: the owner's bound, which is never exceeded.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._refused = 0
        """The least that did not fit, or 0."""
        self._fitted = 0
        self._since_refusal = 0
        self.tokens = most
        """What is tried at most."""

    def refused(self, tokens: int) -> None:
        """Note that so many did not fit."""
        self._refused = min(self._refused or tokens, tokens)
        self.tokens = max(1, min(self.tokens, tokens) // 2)
        self._fitted = self._since_refusal = 0

    def fitted(self, tokens: int) -> None:
        """Note that so many did."""
        if self.tokens >= self._most:
            return
        self._since_refusal += 1
        if self._since_refusal > _FORGET_AFTER:
            self._refused = 0
        if tokens < self.tokens * _NEARLY:
            return
        self._fitted += 1
        if self._fitted >= _STEP_AFTER:
            self._raise()

    def _raise(self) -> None:
        self._fitted = 0
        if not self._refused:
            self.tokens = min(self._most, self.tokens * 2)
        elif self.tokens * _CLOSE < self._refused:
            self.tokens = min(self._most, (self.tokens + self._refused) // 2)
