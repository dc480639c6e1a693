"""The parts by themselves: groups, layouts, linear layers, the bias, and how a dtype is chosen."""

from __future__ import annotations

import io
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from tests.worker.packed.conftest import Make
from worker.engines.packed import linear, opening, probe
from worker.engines.packed.attention import GroupedAttention, VarlenAttention, neighbours
from worker.engines.packed.bias import RelativeBias, bucket
from worker.engines.packed.layout import lay_out
from worker.engines.packed.linear import PlainLinear, PrepackedLinear
from worker.engines.packed.padded import PaddedAttention
from worker.engines.packed.shapes import Activation
from worker.engines.packed.size import Size
from worker.log import EventLog

lengths = st.lists(st.integers(1, 70), min_size=1, max_size=12)
CPU = torch.device("cpu")


@settings(deadline=None)
@given(mixture=lengths, limit=st.sampled_from([0, 16, 32, 100]))
def test_each_place_is_in_one_group_of_like_length(mixture: list[int], limit: int) -> None:
    ordered = tuple(sorted(mixture, reverse=True))
    groups = neighbours(ordered, limit)

    assert [place for group in groups for place in group] == list(range(len(ordered)))
    for group in groups:
        longest, shortest = ordered[group.start], ordered[group.stop - 1]
        assert longest == shortest or (longest <= limit and longest - shortest < 16)


@settings(deadline=None, max_examples=40)
@given(mixture=lengths, limit=st.sampled_from([16, 32, 1000]), rounded=st.booleans(), biased=st.booleans())
def test_sharing_a_call_changes_nothing(mixture: list[int], limit: int, rounded: bool, biased: bool) -> None:
    """Whether sequences are padded together, as on a GPU without a kernel for any lengths, or go alone."""
    bias = RelativeBias(torch.randn(32, 2, generator=torch.Generator().manual_seed(5))) if biased else None
    layout = lay_out(mixture, rounded=rounded)
    qkv = torch.randn(layout.rows, 3 * 16, generator=torch.Generator().manual_seed(len(mixture)))
    made, alone = (
        GroupedAttention(2, padded_length_max=most, bias=bias).prepare(layout, torch.float32, CPU)(qkv)
        for most in (limit, 0)
    )

    torch.testing.assert_close(made, alone, rtol=1e-4, atol=1e-5)
    assert not made[layout.tokens :].any()


@given(mixture=lengths)
def test_few_numbers_of_rows_occur(mixture: list[int]) -> None:
    """Each new one costs a millisecond for each layer's shape."""
    rows = lay_out(mixture, rounded=True).rows

    assert 0 <= rows - sum(mixture) < max(16, rows / 16)
    assert rows % (16 if rows <= 512 else 32) == 0


def test_buckets_of_distance_are_those_of_transformers() -> None:
    distances = torch.arange(-600, 601)

    assert torch.equal(bucket(distances, 32), MPNetEncoder.relative_position_bucket(distances, num_buckets=32))


@pytest.mark.parametrize("activation", [None, *Activation])
@pytest.mark.parametrize("with_residual", [False, True])
def test_prepacked_layers_are_plain_ones(activation: Activation | None, with_residual: bool) -> None:
    if not linear.can_prepack(torch.float32):
        pytest.skip("this torch has no prepacked layers")
    weight, bias, rows, residual = (torch.randn(*size) for size in ((48, 32), (48,), (5, 32), (5, 48)))
    before = residual.clone()
    given_residual = residual if with_residual else None
    made, expected = (kind(weight, bias, activation)(rows, given_residual) for kind in (PrepackedLinear, PlainLinear))

    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(residual, before)


def test_without_the_private_operators_plain_layers_do_the_work(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may go with any release of torch."""
    expected = make("Bert").encoder().forward([[5, 6, 7]]).hidden
    monkeypatch.setattr(linear, "_operators", SimpleNamespace)
    linear.can_prepack.cache_clear()
    try:
        assert not linear.can_prepack(torch.float32)
        torch.testing.assert_close(make("Bert").encoder().forward([[5, 6, 7]]).hidden, expected, rtol=1e-4, atol=1e-5)
    finally:
        linear.can_prepack.cache_clear()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param((3.0, 1.0), torch.bfloat16, id="three times as fast"),
        pytest.param((1.0, 3.0), torch.float32, id="three times as slow"),
        pytest.param((1.0, 0.95), torch.float32, id="about the same"),
    ],
)
def test_fewer_bits_have_to_be_faster(seconds: tuple[float, float], expected: torch.dtype) -> None:
    assert probe.faster(seconds) is expected


def test_a_dtype_is_chosen_by_measuring(make: Make) -> None:
    assert probe.choose_dtype(make("Bert").encoder().shape, "cpu") in (torch.float32, torch.bfloat16)


def test_what_else_runs_does_not_count_when_a_dtype_is_chosen() -> None:
    """A worker that starts because jobs are waiting computes them at the same time."""
    waiting, computing = probe.measure(lambda: time.sleep(0.02), lambda: sum(range(100_000)))

    assert waiting < computing


def opened(make: Make, **changes: Any) -> tuple[Any, dict[str, Any]]:
    stream = io.StringIO()
    encoder = opening.open_encoder(make("Bert").folder, device="cpu", log=EventLog(stream), **changes)
    return encoder, json.loads(stream.getvalue())


def test_a_fast_dtype_is_compared_with_fp32_first(make: Make) -> None:
    encoder, event = opened(make, dtype=torch.bfloat16)

    assert encoder.dtype is torch.bfloat16
    assert event["message"] == "encoder.opened"
    assert event["cosine_min"] > 0.999


def test_a_dtype_that_is_not_good_enough_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedding that is a little wrong looks like one that is right."""
    monkeypatch.setattr(opening, "COSINE_MIN", 1.1)
    encoder, event = opened(make, dtype=torch.bfloat16)

    assert encoder.dtype is torch.float32
    assert (event["severity"], event["message"]) == ("WARNING", "encoder.dtype_refused")


def test_no_number_is_not_good_enough(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "least_cosine", lambda *_: float("nan"))

    assert opened(make, dtype=torch.bfloat16)[0].dtype is torch.float32


@pytest.mark.parametrize("biased", [False, True], ids=["plain", "biased"])
@pytest.mark.parametrize("lengths", [(5,), (16,), (7, 5, 1), (3, 30, 12, 12, 1, 1, 16, 31), (2,) * 20], ids=str)
def test_attention_of_one_size_gives_what_groups_give(lengths: tuple[int, ...], biased: bool) -> None:
    """Whatever share of its size a batch fills, and whatever was in its place before."""
    bias = RelativeBias(torch.randn(32, 2)) if biased else None
    layout = lay_out(lengths, rounded=False)
    padded = PaddedAttention(2, bias=bias)
    size = Size.of(layout, padded.lengths)
    assert size is not None
    numbers = torch.zeros(padded.count(size), dtype=torch.int32)
    padded.fill(numbers, layout, size)
    qkv = torch.full((size.rows, 3 * 8), torch.nan)
    qkv[: layout.rows] = torch.randn(layout.rows, 3 * 8)
    made = padded.over(numbers, size, torch.float32)(qkv)[: layout.rows]

    grouped = GroupedAttention(2, padded_length_max=0, bias=bias).prepare(layout, torch.float32, CPU)
    torch.testing.assert_close(made, grouped(qkv[: layout.rows]), rtol=1e-4, atol=1e-5)


def test_sequences_that_are_not_there_have_no_rows_in_a_place_of_one_size() -> None:
    layout = lay_out((3, 9, 1), rounded=False)
    varlen = VarlenAttention(2)
    size = Size.of(layout, varlen.lengths)
    assert size == Size(rows=16, sequences=8, longest=128)
    numbers = torch.zeros(varlen.count(size), dtype=torch.int32)
    varlen.fill(numbers, layout, size)

    assert numbers.tolist() == [0, 9, 12, 13, 13, 13, 13, 13, 13]


@pytest.mark.parametrize("lengths", [(513,), (100,) * 82, (1,) * 513], ids=["long", "large", "many"])
def test_what_is_more_than_any_size_has_none(lengths: tuple[int, ...]) -> None:
    assert Size.of(lay_out(lengths, rounded=False), (128, 512)) is None
