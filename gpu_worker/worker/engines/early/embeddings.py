"""Embeddings by the early encoder: the same requests, errors and numbers as the engine that follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from worker.engine import Item
from worker.engines.early.encoder import NumpyEncoder
from worker.engines.packed import read_shape
from worker.engines.packed.tokenizer import PackedTokenizer
from worker.engines.tasks.embeddings import PackedEmbeddingsEngine
from worker.errors import OutOfMemoryError


class EarlyEmbeddingsEngine(PackedEmbeddingsEngine):
    """Reads requests as `PackedEmbeddingsEngine` does, and computes without torch."""

    def import_libraries(self) -> None:
        """What it needs is imported with this module."""

    def load(self) -> None:
        """Read the weights and the tokenizer."""
        self._tokenizer = PackedTokenizer.load(
            self._folder, read_shape(self._folder), tokens_max=self._layout.tokens_max
        )
        self._encoder = NumpyEncoder(self._folder)

    def compute(self, items: Sequence[Item]) -> Sequence[Any]:
        """Run items one after another."""
        try:
            return [self._row(*item.payload) for item in items]
        except MemoryError as exc:
            raise OutOfMemoryError(str(exc) or "the host's memory is exhausted") from exc

    def _row(self, normalize: bool, tokens: Any) -> Any:
        hidden = self._encoder.forward(tokens.ids, tokens.type_ids)
        match self._layout.pooling:
            case "cls":
                vector = hidden[0]
            case "lasttoken":
                vector = hidden[-1]
            case _:
                vector = hidden.mean(axis=0)
        if not np.isfinite(vector).all():
            raise FloatingPointError("the model's numbers are not finite")
        if normalize:
            vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return vector.copy()  # and not a view, which would keep all of the text's states
