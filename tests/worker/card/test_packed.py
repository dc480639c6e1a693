"""The packed encoder on a card: plain transformers' states in float32, and near enough in half of the bits."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import transformers

from tests.worker.packed import makers
from worker.engines.packed.attention import GroupedAttention, VarlenAttention
from worker.engines.packed.encoder import PackedEncoder
from worker.engines.packed.layout import lay_out
from worker.engines.packed.pooling import pool
from worker.engines.packed.probe import least_cosine
from worker.folder import Pooling

LENGTHS = (1, 38, 2, 17, 17, 5, 31, 1, 16, 33)
_WIDTH, _HEADS = 384, 12


@pytest.mark.parametrize("family", makers.FAMILIES)
def test_states_are_those_of_transformers_on_the_cpu(family: str, tmp_path: Path) -> None:
    model = makers.save(tmp_path, family)
    tokens = makers.sequences(LENGTHS)
    packed = PackedEncoder.load(tmp_path, dtype=torch.float32, device="cuda").forward(tokens)

    for rows, sequence in zip(packed.split(), tokens, strict=True):
        torch.testing.assert_close(rows.cpu(), makers.hidden(model, sequence), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_minilm_in_half_of_the_bits_is_good_enough(minilm_folder: Path, dtype: torch.dtype) -> None:
    short, exact = (PackedEncoder.load(minilm_folder, dtype=each, device="cuda") for each in (dtype, torch.float32))

    assert least_cosine(short, exact) >= 0.999


def test_minilm_agrees_with_transformers_on_the_cpu_in_any_mixture(minilm_folder: Path) -> None:
    """In bfloat16, with 300 texts in one batch."""
    chance = random.Random(3)
    tokens = [[chance.randrange(1000, 30_000) for _ in range(chance.randint(1, 256))] for _ in range(300)]
    made = PackedEncoder.load(minilm_folder, dtype=torch.bfloat16, device="cuda").forward(tokens)
    vectors = pool(made, Pooling.MEAN).cpu()
    model = transformers.AutoModel.from_pretrained(minilm_folder).eval()

    for index in range(0, 300, 20):
        expected = makers.hidden(model, tokens[index]).mean(0)
        assert torch.cosine_similarity(vectors[index], expected, dim=0) >= 0.999


def test_sequences_of_any_length_go_through_one_kernel(minilm_folder: Path) -> None:
    encoder = PackedEncoder.load(minilm_folder, dtype=torch.bfloat16, device="cuda")

    assert isinstance(encoder._attention, VarlenAttention)


@pytest.mark.parametrize("lengths", [(1,), (512,), (1, 1, 1), (7, 130, 64, 65, 2)], ids=str)
def test_one_kernel_for_all_gives_what_groups_give(lengths: tuple[int, ...]) -> None:
    layout = lay_out(lengths, rounded=False)
    qkv = torch.randn(layout.rows, 3 * _WIDTH, device="cuda", dtype=torch.bfloat16)
    ways = (VarlenAttention(_HEADS), GroupedAttention(_HEADS, padded_length_max=1 << 20))
    one, other = (way.prepare(layout, torch.bfloat16, torch.device("cuda"))(qkv) for way in ways)

    torch.testing.assert_close(one, other, rtol=0.05, atol=0.02)


def launched(encoder: PackedEncoder, tokens: list[list[int]]) -> torch.Tensor:
    """Return the states that the same encoder makes kernel by kernel."""
    graphs, encoder._graphs = encoder._graphs, None
    try:
        return encoder.forward(tokens).hidden
    finally:
        encoder._graphs = graphs


@pytest.mark.parametrize(("dtype", "near"), [(torch.bfloat16, 0.02), (torch.float32, 1e-4)], ids=str)
@pytest.mark.parametrize("family", makers.FAMILIES)
def test_a_batch_that_is_replayed_gives_what_one_that_is_launched_gives(
    family: str, dtype: torch.dtype, near: float, tmp_path: Path
) -> None:
    """Whatever was in the graph's place before, and whatever share of it the batch fills."""
    makers.save(tmp_path, family)
    encoder = PackedEncoder.load(tmp_path, dtype=dtype, device="cuda")
    for lengths in ((1,), (38,), (5, 7, 1), (7, 5, 1), (1,) * 64, (1,) * 65, LENGTHS, (3,) * 600, (30,) * 300):
        tokens = makers.sequences(lengths)
        made, expected = encoder.forward(tokens).hidden, launched(encoder, tokens)
        torch.testing.assert_close(made, expected, rtol=2 * near, atol=near)

    assert encoder.has_graphs
    assert encoder._graphs is not None
    assert len(encoder._graphs._graphs) >= 5


def test_threads_that_share_a_graph_get_their_own_states(minilm_folder: Path) -> None:
    encoder = PackedEncoder.load(minilm_folder, dtype=torch.bfloat16, device="cuda")
    given = [[[101, *range(2000 + 50 * number, 2010 + 50 * number), 102]] * 3 for number in range(16)]
    expected = [launched(encoder, tokens) for tokens in given]
    with ThreadPoolExecutor(8) as pool_of_threads:
        for _ in range(10):
            made = list(pool_of_threads.map(lambda tokens: encoder.forward(tokens).hidden, given))
            torch.cuda.synchronize()
            for one, other in zip(made, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=0.05, atol=0.02)


def test_a_graph_that_cannot_be_recorded_costs_speed_and_no_answer(
    minilm_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = PackedEncoder.load(minilm_folder, dtype=torch.bfloat16, device="cuda")
    expected = launched(encoder, [[101, 2000, 102]])

    def refused(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "graph", refused)
    torch.testing.assert_close(encoder.forward([[101, 2000, 102]]).hidden, expected)
    assert not encoder.has_graphs


def test_an_id_out_of_its_table_is_refused_before_it_reaches_the_card(minilm_folder: Path) -> None:
    """There it would break the process's context for good."""
    encoder = PackedEncoder.load(minilm_folder, dtype=torch.bfloat16, device="cuda")
    with pytest.raises(ValueError, match="token id"):
        encoder.forward([[101, 99_999_999, 102]])

    assert torch.isfinite(encoder.forward([[101, 102]]).hidden).all()
