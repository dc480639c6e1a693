"""Models that write, on a card: in float32 what they write on the CPU, and with weights of fewer bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.missing import missing
from tests.worker.generation.makers import TEXTS, load, make_decoder
from tests.worker.tiny import run_together

_BIG: dict[str, Any] = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_decoder(tmp_path_factory.mktemp("llama"), "Llama", num_key_value_heads=2, **_BIG)


def written(engine: Any) -> list[str]:
    (rows,) = run_together(engine, [(TEXTS, {"max_new_tokens": 12})])
    return [row[0]["generated_text"] for row in rows]


def test_texts_are_those_of_the_cpu(folder: Path) -> None:
    card, cpu = load(folder, DEVICE="cuda"), load(folder, DEVICE="cpu")

    assert card._device.startswith("cuda")
    assert written(card) == written(cpu)


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_weights_of_fewer_bits_take_less_of_the_card_and_write(folder: Path, bits: str) -> None:
    try:
        import bitsandbytes  # noqa: F401  # only large models need it
    except ImportError:
        missing("bitsandbytes is not installed", "pip install -r gpu_worker/requirements-large.txt")
    half = load(folder, DTYPE="float16")
    fewer = load(folder, DTYPE="float16", QUANTIZATION=bits)

    assert fewer._model.get_memory_footprint() < 0.8 * half._model.get_memory_footprint()
    assert all(written(fewer))
