"""Small random models of each family, as `transformers` saves them, and what it makes of tokens itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

VOCABULARY = 50
POSITIONS = 40
_SIZES = {"vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "initializer_range": 0.3}
_BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, **_SIZES}
_DISTILBERT = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, **_SIZES}
_PAD_1 = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "Bert": _BERT,
    "Roberta": _BERT | _PAD_1 | {"type_vocab_size": 1},
    "XLMRoberta": _BERT | _PAD_1 | {"type_vocab_size": 1},
    "Camembert": _BERT | _PAD_1 | {"type_vocab_size": 1},
    "DistilBert": _DISTILBERT,
    "MPNet": _BERT | _PAD_1,
}
FAMILIES = tuple(CONFIGS)
TOKENS_MAX = POSITIONS - 2
"""Of the families that count positions from behind token 1; the others have two more."""


def save(folder: Path, family: str, *, kind: str = "Model", **config: Any) -> Any:
    """Save a random model, and return it."""
    torch.manual_seed(11)
    made = getattr(transformers, f"{family}Config")(**CONFIGS[family] | config)
    model = getattr(transformers, family + kind)(made).eval()
    for parameter in model.parameters():
        # Norms and biases begin as ones and zeros, which would hide it if they were mixed up.
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").touch()
    return model


def hidden(model: Any, tokens: Sequence[int], types: Sequence[int] | None = None) -> torch.Tensor:
    """Return what plain `transformers` makes of one sequence alone: (tokens, width)."""
    rows: torch.Tensor = plain(model.base_model, tokens, types).last_hidden_state[0]
    return rows


def plain(model: Any, tokens: Sequence[int], types: Sequence[int] | None = None) -> Any:
    ids = torch.tensor([list(tokens)])
    typed = {} if types is None else {"token_type_ids": torch.tensor([list(types)])}
    with torch.inference_mode():
        # A mask of ones, for else some models warn about padding tokens within.
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), **typed)


def sequences(lengths: Sequence[int]) -> list[list[int]]:
    """Return sequences of random tokens, none of them special."""
    generator = torch.Generator().manual_seed(sum(lengths))
    return [torch.randint(4, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]
