"""The poolings that are known; apart, so that a folder can be read without torch."""

from __future__ import annotations

from enum import StrEnum


class Pooling(StrEnum):
    """How a vector is made of a sequence's tokens; the words are those of `worker.engines.folder`."""

    MEAN = "mean"
    CLS = "cls"
    LAST_TOKEN = "lasttoken"  # noqa: S105  # a token of text
