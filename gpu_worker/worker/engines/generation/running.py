"""Sequences that are written together: their keys and values in one cache, padded on the left to the longest.

Rows join by being read on their own and laid beside the others, and leave by being left out; columns that nobody
needs any more are cut off.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from worker.engines.generation.choosing import Chooser, choose_all


@dataclass(slots=True, kw_only=True, eq=False)
class Row:
    """One text that is written."""

    ids: list[int]
    """The prompt's tokens, and those written."""
    chooser: Chooser
    prompt_tokens: int = field(init=False)

    def __post_init__(self) -> None:
        self.prompt_tokens = len(self.ids)

    @property
    def written(self) -> int:
        """How many tokens were written."""
        return len(self.ids) - self.prompt_tokens


class Batch:
    """Rows with one cache. Each has one token that the model has not read yet: the one written last."""

    def __init__(self, rows: list[Row], cache: Any, mask: Tensor) -> None:
        self.rows = rows
        self._cache = cache
        self._mask = mask
        """(rows, columns): 1 for each token that is in the cache, 0 for padding, which is on the left."""

    @classmethod
    def read(cls, model: Any, rows: list[Row], device: str) -> Batch:
        """Read prompts, and write the first token to each."""
        longest = max(len(row.ids) for row in rows)
        ids = torch.tensor([[0] * (longest - len(row.ids)) + row.ids for row in rows], device=device)
        mask = torch.tensor([[0] * (longest - len(r.ids)) + [1] * len(r.ids) for r in rows], device=device)
        output = _forward(model, ids, mask, _fresh_cache(model))
        batch = cls(rows, output.past_key_values, mask)
        batch._write(output.logits)
        return batch

    @property
    def can_join(self) -> bool:
        """Whether the cache is one of keys and values alone, which rows can be laid beside."""
        return type(self._cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in self._cache.layers)

    def step(self, model: Any) -> None:
        """Write one token to each row."""
        ids = torch.tensor([[row.ids[-1]] for row in self.rows], device=self._mask.device)
        self._mask = functional.pad(self._mask, (0, 1), value=1)
        output = _forward(model, ids, self._mask, self._cache)
        self._cache = output.past_key_values
        self._write(output.logits)

    def join(self, other: Batch) -> None:
        """Lay another batch's rows beside these."""
        columns = max(self._mask.shape[1], other._mask.shape[1])
        layers = [
            (_beside(one.keys, two.keys, columns), _beside(one.values, two.values, columns))
            for one, two in zip(self._cache.layers, other._cache.layers, strict=True)
        ]
        self._cache = _cache_of(layers)
        self._mask = torch.cat([_padded(self._mask, columns), _padded(other._mask, columns)])
        self.rows = [*self.rows, *other.rows]

    def keep(self, rows: Sequence[Row]) -> None:
        """Leave out all rows but these, which are some of its own, and columns that are padding for all of them."""
        places = [place for place, row in enumerate(self.rows) if row in rows]
        if len(places) == len(self.rows):
            return
        self.rows = [self.rows[place] for place in places]
        if not self.rows or not self.can_join:
            return  # A batch that nothing can join has one row, and is forgotten with it.
        picked = torch.tensor(places, device=self._mask.device)
        mask = self._mask[picked]
        first = int(mask.any(dim=0).int().argmax())
        self._mask = mask[:, first:].contiguous()
        self._cache = _cache_of(
            [
                (layer.keys[picked, :, first:].contiguous(), layer.values[picked, :, first:].contiguous())
                for layer in self._cache.layers
            ]
        )

    def _write(self, logits: Tensor) -> None:
        tokens = choose_all([row.chooser for row in self.rows], [row.ids for row in self.rows], logits[:, -1])
        for row, token in zip(self.rows, tokens, strict=True):
            row.ids.append(token)


def _forward(model: Any, ids: Tensor, mask: Tensor, cache: Any) -> Any:
    more: dict[str, Any] = {}
    if _takes(model, "position_ids"):
        more["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    if _takes(model, "logits_to_keep"):
        more["logits_to_keep"] = 1
    return model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **more)


def _takes(model: Any, name: str) -> bool:
    return name in inspect.signature(model.forward).parameters


def _fresh_cache(model: Any) -> DynamicCache:
    """Return an empty cache. It keeps all tokens where a window would do, for rows differ in length."""
    own = DynamicCache(config=model.config)
    plain = all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in own.layers)
    return DynamicCache() if plain else own


def _cache_of(layers: Sequence[tuple[Tensor, Tensor]]) -> DynamicCache:
    cache = DynamicCache()
    for index, (keys, values) in enumerate(layers):
        cache.update(keys, values, index)
    return cache


def _beside(one: Tensor, two: Tensor, columns: int) -> Tensor:
    """Return two layers' keys or values, (rows, heads, columns, width), as one."""
    parts = [functional.pad(each, (0, 0, columns - each.shape[2], 0)) for each in (one, two)]
    return torch.cat(parts)


def _padded(mask: Tensor, columns: int) -> Tensor:
    return functional.pad(mask, (columns - mask.shape[1], 0))
