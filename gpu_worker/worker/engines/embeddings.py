"""Embeddings: a vector for each text, made as the model's own folder says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.engines.folder import read_layout
from worker.engines.inputs import Parameters
from worker.engines.text import TextEngine, finite
from worker.settings import Limits


class EmbeddingsEngine(TextEngine[bool]):
    """Takes a text or a list of texts, and returns a vector or a list of vectors.

    Parameters: `normalize` (bool; default what the model's folder says) and `truncate` (bool; default true).
    """

    auto_class = "AutoModel"
    unused_weights = ("pooler.",)

    def __init__(self, folder: Path, limits: Limits) -> None:
        layout = read_layout(folder)
        super().__init__(layout.transformer, limits, tokens_max=layout.tokens_max)
        self._pooling = layout.pooling
        self._normalize = layout.normalize

    def read_options(self, parameters: Mapping[str, Any]) -> tuple[bool, bool]:
        """Return whether to normalize, and whether to truncate."""
        read = Parameters(parameters, known=("normalize", "truncate"))
        return read.flag("normalize", default=self._normalize), read.flag("truncate", default=True)

    def rows(self, output: Any, mask: Any, options: bool) -> list[Any]:
        """Return one vector for each text."""
        import torch  # seconds

        vectors = self._pool(output.last_hidden_state.float(), mask)
        if options:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        rows: list[Any] = finite(vectors).tolist()
        return rows

    def _pool(self, hidden: Any, mask: Any) -> Any:
        """Make one vector of a text's tokens. Padding is on the right and must not count."""
        match self._pooling:
            case "cls":
                return hidden[:, 0]
            case "lasttoken":
                lasts = mask.sum(dim=1) - 1
                return hidden[range(len(hidden)), lasts]
            case _:
                weights = mask.unsqueeze(-1).float()
                return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
