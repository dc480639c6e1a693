"""Embeddings: a vector for each text, made as the model's own folder says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worker.engines.general.text import TextEngine, finite
from worker.engines.inputs import Parameters
from worker.engines.packed.text import PackedTextEngine
from worker.folder import read_layout
from worker.settings import Hardware, Limits


def _read_options(parameters: Mapping[str, Any], *, normalize: bool) -> tuple[bool, bool]:
    """Return whether to normalize, and whether to truncate."""
    read = Parameters(parameters, known=("normalize", "truncate"))
    return read.flag("normalize", default=normalize), read.flag("truncate", default=True)


def _apart(vectors: Any) -> list[Any]:
    """Return an array of float32 for each vector of a batch: JSON needs half the digits of a list's doubles."""
    # Copies, for a view would keep its whole batch for as long as the one answer is kept.
    return [vector.copy() for vector in finite(vectors).numpy()]


class PackedEmbeddingsEngine(PackedTextEngine[bool]):
    """As `EmbeddingsEngine`, for the models that the packed encoder serves."""

    def __init__(self, folder: Path, limits: Limits, hardware: Hardware | None = None) -> None:
        self._layout = read_layout(folder)
        super().__init__(self._layout.transformer, limits, hardware, tokens_max=self._layout.tokens_max)

    def read_options(self, parameters: Mapping[str, Any]) -> tuple[bool, bool]:
        """Return whether to normalize, and whether to truncate."""
        return _read_options(parameters, normalize=self._layout.normalize)

    def load_head(self, device: str) -> None:
        """Vectors are made of the encoder's states alone."""

    def rows(self, packed: Any, options: Sequence[bool]) -> list[Any]:
        """Return one vector for each text."""
        import torch  # seconds

        from worker.engines.packed.pooling import pool  # brings torch

        # The rest is little, and a card takes longer to be told of it than the processor to do it.
        vectors = pool(packed, self._layout.pooling).cpu()
        wanted = torch.tensor(options).unsqueeze(1)
        vectors = torch.where(wanted, torch.nn.functional.normalize(vectors, dim=1), vectors)
        return _apart(vectors)


class EmbeddingsEngine(TextEngine[bool]):
    """Takes a text or a list of texts, and returns a vector or a list of vectors.

    Parameters: `normalize` (bool; default what the model's folder says) and `truncate` (bool; default true).
    """

    auto_class = "AutoModel"
    unused_weights = ("pooler.",)

    def __init__(self, folder: Path, limits: Limits, hardware: Hardware | None = None) -> None:
        layout = read_layout(folder)
        super().__init__(layout.transformer, limits, hardware, tokens_max=layout.tokens_max)
        self._pooling = layout.pooling
        self._normalize = layout.normalize

    def read_options(self, parameters: Mapping[str, Any]) -> tuple[bool, bool]:
        """Return whether to normalize, and whether to truncate."""
        return _read_options(parameters, normalize=self._normalize)

    def rows(self, output: Any, mask: Any, options: bool) -> list[Any]:
        """Return one vector for each text."""
        import torch  # seconds

        vectors = self._pool(output.last_hidden_state.float(), mask)
        if options:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        return _apart(vectors.cpu())

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
