"""A model of `transformers` in a shorter dtype: whether that is faster on this CPU, and answers as float32 does.

The packed encoder's probe does the same for its own layers; this one knows nothing of a model but its sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from worker.engines.packed.probe import COSINE_MIN, faster, measure
from worker.hardware.need import inner_width, outer_width

__all__ = ["COSINE_MIN", "is_faster_in_bfloat16", "least_cosine"]

_PARAMETERS_MIN = 5_000_000
"""A smaller model is calls more than products; no dtype makes it faster."""
_WIDTH_MAX, _INNER_MAX = 1024, 4096
"""Of the product that is timed: a larger one says the same and takes seconds where bfloat16 is imitated."""
_ROWS = 64
_SAMPLE_TEXTS, _SAMPLE_TOKENS = 4, 16


def is_faster_in_bfloat16(config: Mapping[str, Any], parameters: int) -> bool:
    """Time a linear layer of a model's sizes in both dtypes; it takes some milliseconds."""
    width = min(outer_width(config), _WIDTH_MAX)
    if parameters < _PARAMETERS_MIN or not width:
        return False
    inner = min(inner_width(config), _INNER_MAX)
    sizes = [torch.full(size, 0.01) for size in ((_ROWS, width), (inner, width))]
    short = [tensor.bfloat16() for tensor in sizes]
    linear = torch.nn.functional.linear
    with torch.inference_mode():
        seconds = measure(lambda: linear(*sizes), lambda: linear(*short))
    return faster(seconds) is torch.bfloat16


def least_cosine(model: Any, reference: Any) -> float:
    """Return how far two models of the same weights are apart at worst, by their hidden states of random tokens.

    For each text its first and its last token count, and the mean of all. A model that cannot be run counts as -1.
    """
    try:
        ours, theirs = _states(model), _states(reference)
    except (RuntimeError, TypeError, ValueError, AttributeError):
        # An operation that the dtype does not have on this device, or a model that takes other inputs.
        return -1.0
    least = torch.cosine_similarity(ours, theirs, dim=-1).min()
    # A number that is not one compares as no, so it is refused.
    return float(least)


@torch.inference_mode()
def _states(model: Any) -> Tensor:
    """Return three vectors for each text of the sample."""
    generator = torch.Generator().manual_seed(7)
    vocabulary = int(model.config.get_text_config().vocab_size)
    tokens = torch.randint(vocabulary, (_SAMPLE_TEXTS, _SAMPLE_TOKENS), generator=generator).to(model.device)
    given = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    if model.config.is_encoder_decoder:
        given["decoder_input_ids"] = tokens
    output = model(**given, output_hidden_states=True)
    layers = output.get("decoder_hidden_states") or output["hidden_states"]
    states = layers[-1].float()
    return torch.cat((states.mean(dim=1), states[:, 0], states[:, -1])).cpu()
