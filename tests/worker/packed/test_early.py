"""The early encoder gives the numbers of `transformers` for every family that it takes, and refuses the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.worker.packed import makers
from tests.worker.packed.conftest import Make
from worker.engines.early.encoder import NumpyEncoder
from worker.errors import ModelError

_SEQUENCES = [[2, 5, 9, 3], [4], [7, 7, 1, 12, 3, 8, 20, 21, 22]]


@pytest.mark.parametrize("family", [family for family in makers.FAMILIES if family != "MPNet"])
def test_it_agrees_with_transformers(make: Make, family: str) -> None:
    """Who asks while the worker starts gets no other answer than who asks later."""
    made = make(family)
    early = NumpyEncoder(made.folder)
    for sequence in _SEQUENCES:
        ids = torch.tensor([sequence])
        with torch.inference_mode():
            # Without padding, but told so, for a padding token within a text is a token.
            expected = made.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]

        np.testing.assert_allclose(early.forward(sequence, None), expected.numpy(), rtol=1e-3, atol=1e-5)


def test_what_it_does_not_know_it_refuses(make: Make) -> None:
    """Relative positions are the packed encoder's; then nobody answers early."""
    with pytest.raises(ModelError, match="relative positions"):
        NumpyEncoder(make("MPNet").folder)
