"""The packed encoder gives what plain transformers gives, whatever lies beside a sequence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.worker.packed.conftest import Make
from tests.worker.packed.makers import CONFIGS, POSITIONS, TOKENS_MAX, hidden, save, sequences
from worker.engines.packed.encoder import PackedEncoder

several = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
lengths = st.lists(st.integers(1, TOKENS_MAX), min_size=1, max_size=12)


def test_each_length_alone_is_as_in_transformers(make: Make, family: str) -> None:
    """From one token to as many as there are positions."""
    made = make(family)
    encoder = made.encoder()
    longest = POSITIONS if family in ("Bert", "DistilBert") else TOKENS_MAX

    assert encoder.shape.tokens_max == longest
    for tokens in sequences([1, 2, 3, 15, 16, 17, 33, longest]):
        packed = encoder.forward([tokens])
        torch.testing.assert_close(packed.hidden, hidden(made.model, tokens), rtol=1e-4, atol=1e-5)


@several
@given(mixture=lengths)
def test_any_mixture_is_as_one_by_one_in_transformers(make: Make, family: str, mixture: list[int]) -> None:
    """Nothing of a neighbour, of padding or of the rows that fill up a batch may reach a sequence."""
    made = make(family)
    given_tokens = sequences(mixture)
    packed = made.encoder().forward(given_tokens)

    assert packed.hidden.shape == (sum(mixture), 32)
    for rows, tokens in zip(packed.split(), given_tokens, strict=True):
        torch.testing.assert_close(rows, hidden(made.model, tokens), rtol=1e-4, atol=1e-5)


def test_bf16_points_where_fp32_does(make: Make, family: str) -> None:
    encoder, exact = make(family).encoder(torch.bfloat16), make(family).encoder()
    given_tokens = sequences([1, 2, 7, 16, 20, 31, 33, 33, TOKENS_MAX])
    packed, expected = encoder.forward(given_tokens), exact.forward(given_tokens)

    assert packed.hidden.dtype is torch.bfloat16
    assert torch.cosine_similarity(packed.hidden.float(), expected.hidden).min() > 0.999


def test_token_types_are_added_where_a_family_has_them(make: Make) -> None:
    made = make("Bert")
    given_tokens = sequences([9, 4])
    types = [[0] * 5 + [1] * 4, [1, 0, 1, 1]]
    packed = made.encoder().forward(given_tokens, types)

    for rows, tokens, typed in zip(packed.split(), given_tokens, types, strict=True):
        torch.testing.assert_close(rows, hidden(made.model, tokens, typed), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["Roberta", "MPNet", "XLMRoberta", "Camembert"])
def test_a_padding_token_within_a_text_is_not_counted(make: Make, family: str) -> None:
    """A text may say `<pad>`; these families leave it out where they number positions."""
    made = make(family)
    given_tokens = [[5, 1, 1, 7, 8], [1], [9, 9, 1]]
    packed = made.encoder().forward(given_tokens)

    for rows, tokens in zip(packed.split(), given_tokens, strict=True):
        torch.testing.assert_close(rows, hidden(made.model, tokens), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python", "relu", "silu"])
def test_activations_are_those_of_the_configuration(tmp_path: Path, activation: str) -> None:
    model = save(tmp_path, "Bert", hidden_act=activation)
    encoder = PackedEncoder.load(tmp_path, dtype=torch.float32, device="cpu")
    tokens = sequences([20])[0]

    torch.testing.assert_close(encoder.forward([tokens]).hidden, hidden(model, tokens), rtol=1e-4, atol=1e-5)


def test_weights_in_several_files_are_the_same_weights(make: Make, tmp_path: Path) -> None:
    made = make("Bert")
    made.model.save_pretrained(tmp_path, max_shard_size="10KB")
    tokens = sequences([12])

    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    sharded = PackedEncoder.load(tmp_path, dtype=torch.float32, device="cpu").forward(tokens).hidden
    torch.testing.assert_close(sharded, made.encoder().forward(tokens).hidden)


@pytest.mark.parametrize(
    ("given_tokens", "types"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([[5], []], None, id="an empty sequence"),
        pytest.param([[5] * (POSITIONS + 1)], None, id="too long"),
        pytest.param([[5, CONFIGS["Bert"]["vocab_size"]]], None, id="no such token"),
        pytest.param([[5, -1]], None, id="a negative token"),
        pytest.param([[5, 6]], [[0]], id="too few types"),
        pytest.param([[5, 6]], [[0, 2]], id="no such type"),
    ],
)
def test_what_is_not_in_the_tables_is_refused(
    make: Make, given_tokens: list[list[int]], types: list[list[int]] | None
) -> None:
    """On a GPU it would break the process for good."""
    with pytest.raises(ValueError, match=r"sequences|types|token"):
        make("Bert").encoder().forward(given_tokens, types)
