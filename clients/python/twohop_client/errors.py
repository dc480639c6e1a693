"""Every way in which a call fails, as one class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NOT_TAKEN = ("unavailable", "aborted")


class TwohopError(Exception):
    """A request was refused, or it failed.

    Args:
        code: as Firebase's callables have it: `resource-exhausted`, `invalid-argument`, …
        message: may be shown to anybody.
        details: facts that a program can act on.
        answered: whether the gate said so, and not the wire.
    """

    def __init__(
        self, code: str, message: str, *, details: Mapping[str, Any] | None = None, answered: bool = True
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self._answered = answered

    @property
    def limit(self) -> str | None:
        """The limit that is reached, for example `requests_per_minute`; None if it is another error."""
        return self.details.get("limit") if self.code == "resource-exhausted" else None

    @property
    def retry_after_seconds(self) -> float | None:
        """Seconds after which asking again may help; None if nobody knows."""
        return self.details.get("retry_after_seconds")

    @property
    def retryable(self) -> bool:
        """Whether the same request with the same key may go through."""
        return not self._answered or self.code in _NOT_TAKEN

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> TwohopError:
        """Return the error that the gate tells: `{status, message, details}`."""
        code = str(told.get("status", "INTERNAL")).lower().replace("_", "-")
        return cls(code, str(told.get("message", "")), details=told.get("details"))

    @classmethod
    def of_wire(cls, error: Exception) -> TwohopError:
        """Return the error of an answer that did not come."""
        return cls("unavailable", f"no answer: {type(error).__name__}", answered=False)
