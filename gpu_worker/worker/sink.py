"""What a job makes before its end, on its way to whoever waits for it."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """Gets a job's parts and its progress. It is called from the compute thread, and so must never block or raise."""

    def part(self, text: str) -> None:
        """Take the next piece of the text that the job writes; the pieces together are its output."""
        ...

    def progress(self, done: int, total: int) -> None:
        """Be told how many of the job's items are computed."""
        ...
