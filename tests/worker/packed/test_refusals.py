"""What would be served wrongly is refused, so that the caller takes transformers instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.worker.packed.conftest import Make
from tests.worker.packed.makers import CONFIGS, save, sequences
from worker.engines.packed import Head, read_shape, supports
from worker.engines.packed.encoder import PackedEncoder
from worker.errors import ModelError

KEYS = {"model_type": "bert", "architectures": ["BertModel"], **CONFIGS["Bert"]}


def write(folder: Path, **changes: Any) -> Path:
    config = {key: value for key, value in (KEYS | changes).items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).touch()
    return folder


def test_each_family_is_supported(make: Make, family: str) -> None:
    assert supports(make(family).folder)
    assert supports(make(family, "ForSequenceClassification").folder, Head.SEQUENCE)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "modernbert"},
        {"model_type": None},
        {"architectures": ["RobertaModel"]},
        {"architectures": ["JinaBertModel"]},
        {"position_embedding_type": "relative_key"},
        {"hidden_act": "mish"},
        {"hidden_act": ["gelu"]},
        {"is_decoder": True},
        {"auto_map": {"AutoModel": "x"}},
        {"quantization_config": {"bits": 4}},
        {"hidden_size": None},
        {"hidden_size": 33},
        {"id2label": ["a"]},
        {"id2label": {"1": "a"}},
    ],
    ids=str,
)
def test_a_configuration_of_something_else_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    write(tmp_path, **changes)

    assert not supports(tmp_path)
    with pytest.raises(ModelError):
        read_shape(tmp_path)


def test_an_old_configuration_means_its_defaults(tmp_path: Path) -> None:
    """Files of the first years leave out what was not yet a choice."""
    shape = read_shape(write(tmp_path, architectures=None, max_position_embeddings=None))

    assert (shape.positions, shape.types, shape.norm_eps, shape.labels) == (512, 2, 1e-12, ("LABEL_0", "LABEL_1"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_not_supported(tmp_path: Path, name: str) -> None:
    (write(tmp_path) / name).unlink()

    assert not supports(tmp_path)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        pytest.param("encoder.layer.1.attention.self.key.bias", None, id="missing"),
        pytest.param("embeddings.LayerNorm.weight", torch.ones(7), id="another shape"),
        pytest.param("encoder.layer.0.output.dense.bias", torch.ones(32, dtype=torch.int8), id="whole numbers"),
    ],
)
def test_weights_that_are_not_all_there_are_refused(tmp_path: Path, name: str, tensor: torch.Tensor | None) -> None:
    save(tmp_path, "Bert")
    weights = load_file(tmp_path / "model.safetensors")
    weights = {key: value.clone() for key, value in weights.items() if key != name}
    save_file(weights | ({} if tensor is None else {name: tensor}), tmp_path / "model.safetensors")

    with pytest.raises(ModelError, match=name):
        PackedEncoder.load(tmp_path, dtype=torch.float32, device="cpu")


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        PackedEncoder.load(write(tmp_path), dtype=torch.float32, device="cpu")


def test_the_names_of_the_first_checkpoints_are_known(make: Make, tmp_path: Path) -> None:
    """They say gamma and beta, and put `bert.` before all."""
    made = make("Bert")
    weights = load_file(made.folder / "model.safetensors")
    save_file(
        {f"bert.{_old(name)}": tensor.clone() for name, tensor in weights.items()}, tmp_path / "model.safetensors"
    )
    (tmp_path / "config.json").write_bytes((made.folder / "config.json").read_bytes())
    tokens = sequences([6])

    old = PackedEncoder.load(tmp_path, dtype=torch.float32, device="cpu").forward(tokens).hidden
    torch.testing.assert_close(old, made.encoder().forward(tokens).hidden)


def _old(name: str) -> str:
    if "LayerNorm" not in name:
        return name
    return name.replace(".weight", ".gamma").replace(".bias", ".beta")
