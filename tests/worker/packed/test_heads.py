"""Heads and poolings give what plain transformers gives, in the order in which sequences came."""

from __future__ import annotations

import pytest
import torch

from tests.worker.packed.conftest import Make
from tests.worker.packed.makers import hidden, plain, sequences
from worker.engines.packed import Head, read_head
from worker.engines.packed.heads import SequenceHead, TokenHead
from worker.engines.packed.pooling import pool
from worker.errors import ModelError
from worker.folder import Pooling

LENGTHS = [3, 38, 1, 17, 17, 9]


def test_sequence_logits_are_those_of_transformers(make: Make, family: str) -> None:
    made = make(family, "ForSequenceClassification")
    encoder = made.encoder()
    head = SequenceHead.load(made.folder, encoder.shape, device="cpu")
    given_tokens = sequences(LENGTHS)
    expected = torch.cat([plain(made.model, tokens).logits for tokens in given_tokens])

    assert read_head(made.folder) is Head.SEQUENCE
    torch.testing.assert_close(head.logits(encoder.forward(given_tokens)), expected, rtol=1e-4, atol=1e-5)


def test_token_logits_are_those_of_transformers(make: Make, family: str) -> None:
    made = make(family, "ForTokenClassification")
    encoder = made.encoder()
    given_tokens = sequences(LENGTHS)
    logits = TokenHead.load(made.folder, encoder.shape, device="cpu").logits(encoder.forward(given_tokens))

    assert read_head(made.folder) is Head.TOKEN
    for rows, tokens in zip(logits, given_tokens, strict=True):
        torch.testing.assert_close(rows, plain(made.model, tokens).logits[0], rtol=1e-4, atol=1e-5)


def test_a_model_without_the_head_is_refused(make: Make, family: str) -> None:
    """Weights that are not in the file would be random numbers."""
    made = make(family)

    assert read_head(made.folder) is Head.NONE
    for head in (SequenceHead, TokenHead):
        with pytest.raises(ModelError, match="lacks the weight"):
            head.load(made.folder, made.encoder().shape, device="cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("pooling", list(Pooling))
def test_vectors_are_of_each_sequence_alone(
    make: Make, pooling: Pooling, normalized: bool, dtype: torch.dtype
) -> None:
    made = make("Bert")
    given_tokens = sequences(LENGTHS)
    vectors = pool(made.encoder(dtype).forward(given_tokens), pooling, normalized=normalized)
    expected = torch.stack([_pooled(hidden(made.model, tokens), pooling) for tokens in given_tokens])
    expected = expected / expected.norm(dim=1, keepdim=True) if normalized else expected

    assert vectors.dtype is torch.float32
    if dtype is torch.float32:
        torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5)
    assert torch.cosine_similarity(vectors, expected).min() > 0.999


def _pooled(rows: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    return {Pooling.MEAN: rows.mean(0), Pooling.CLS: rows[0], Pooling.LAST_TOKEN: rows[-1]}[pooling]
