"""What a batch takes, learned from the batches that ran: a constant, a part by tokens, and a part by their squares.

Attention compares each token of a text with each other, so its time goes with the squared length; all other layers go
with the tokens. A count of texts says nothing about either.
"""

from __future__ import annotations

_FORGETTING = 0.98
"""Weight of the past with each new batch: the last fifty or so decide, so a machine that slows down is noticed."""
_RIDGE = 1e-5
_MS_MIN = 0.1
"""Less is told by no clock that anybody waits by."""
_TOKENS_UNIT = 1_000
_SQUARES_UNIT = 1_000_000


class CostModel:
    """Predicts a batch's milliseconds by weighted least squares over those seen.

    Each counts by 1 over what it took. A batch that stood still for a minute, as in a process that was frozen, tells
    next to nothing of the next one; unweighted, it made a hundred batches of one item each.
    """

    def __init__(self) -> None:
        self._left = [[_RIDGE * (row == column) for column in range(3)] for row in range(3)]
        self._right = [0.0, 0.0, 0.0]
        self._weights = (0.0, 0.0, 0.0)
        """Of a batch, of a token, and of a square; none is less than 0."""

    def observe(self, *, tokens: int, squares: int, ms: float) -> None:
        """Learn from a batch that ran.

        Args:
            tokens: of all its items together.
            squares: of its items' lengths, added up.
            ms: that it took.
        """
        features, weight = _features(tokens, squares), 1 / max(ms, _MS_MIN)
        for row in range(3):
            self._right[row] = _FORGETTING * self._right[row] + features[row] * weight * ms
            for column in range(3):
                kept = _FORGETTING * self._left[row][column] + _RIDGE * (1 - _FORGETTING) * (row == column)
                self._left[row][column] = kept + features[row] * features[column] * weight
        constant, token, square = (max(weight, 0.0) for weight in _solve(self._left, self._right))
        self._weights = (constant, token / _TOKENS_UNIT, square / _SQUARES_UNIT)

    def predict_ms(self, *, tokens: int, squares: int) -> float:
        """Return what such a batch would take; 0 while nothing is known. More work is never told to take less."""
        constant, token, square = self._weights
        return constant + token * tokens + square * squares


def _features(tokens: int, squares: int) -> tuple[float, float, float]:
    return 1.0, tokens / _TOKENS_UNIT, squares / _SQUARES_UNIT


def _solve(left: list[list[float]], right: list[float]) -> tuple[float, float, float]:
    """Solve three equations by Cramer's rule; the ridge keeps the determinant above zero."""

    def replaced(unknown: int) -> list[list[float]]:
        return [[right[row] if column == unknown else left[row][column] for column in range(3)] for row in range(3)]

    whole = _determinant(left)
    return _determinant(replaced(0)) / whole, _determinant(replaced(1)) / whole, _determinant(replaced(2)) / whole


def _determinant(m: list[list[float]]) -> float:
    return (
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
        - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    )
