"""A model is weighed before it is read, and answers as in float32 or is not served in fewer bits unasked."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.worker import tiny
from worker.engines.general import exactness
from worker.engines.general.loading import load_model
from worker.errors import ModelError
from worker.hardware import machine
from worker.hardware.need import read_stored, weigh, with_work
from worker.log import EventLog
from worker.settings import Attention, Dtype, Hardware, Quantization

CLASSIFIER = "BertForSequenceClassification"
AUTO = "AutoModelForSequenceClassification"


def save(folder: Path, kind: str, **told: Any) -> Any:
    """Save a small random model of a kind, and return it."""
    import transformers

    sizes = {
        "Llama": {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64},
        "T5": {"d_model": 32, "d_ff": 64, "num_layers": 2, "num_heads": 2, "d_kv": 16},
        "Bert": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128},
    }[kind]
    heads = {"Llama": "ForCausalLM", "T5": "ForConditionalGeneration", "Bert": "ForSequenceClassification"}
    config = getattr(transformers, f"{kind}Config")(vocab_size=50, **sizes, **told)
    model = getattr(transformers, kind + heads[kind])(config)
    model.save_pretrained(folder)
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.make_model(tmp_path / "model", CLASSIFIER)


@pytest.fixture
def calm(tmp_path: Path) -> Path:
    """A model of the library's own small weights, and of widths that 4 bits on the CPU need: multiples of 64."""
    save(tmp_path / "calm", "Bert")
    return tmp_path / "calm"


def load(folder: Path, **hardware: Any) -> tuple[Any, dict[str, dict[str, Any]]]:
    """Return the loaded model, and what the log says by event."""
    stream = io.StringIO()
    loaded = load_model(AUTO, folder, Hardware(**hardware), log=EventLog(stream), batch_tokens=64)
    return loaded, {line["message"]: line for line in map(json.loads, stream.getvalue().splitlines())}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("Llama", {}),
        ("Llama", {"tie_word_embeddings": True}),
        ("T5", {}),
        ("T5", {"tie_word_embeddings": False}),
        ("Bert", {"num_labels": 5}),
    ],
)
def test_parameters_are_counted_as_the_library_counts_them(tmp_path: Path, kind: str, told: dict[str, Any]) -> None:
    model = save(tmp_path, kind, **told)

    assert read_stored(tmp_path).parameters == model.num_parameters()


def test_parameters_of_several_files_are_counted_together(tmp_path: Path) -> None:
    model = save(tmp_path / "one", "Llama")
    model.save_pretrained(tmp_path / "several", max_shard_size="50KB")

    assert len(list((tmp_path / "several").glob("*.safetensors"))) > 1
    assert read_stored(tmp_path / "several") == read_stored(tmp_path / "one")


def test_the_cache_is_counted_as_the_model_keeps_it(tmp_path: Path) -> None:
    import torch

    model = save(tmp_path, "Llama")
    kept = model(torch.ones(1, 7, dtype=torch.int64), use_cache=True).past_key_values
    kept_bytes = sum(layer.keys.nbytes + layer.values.nbytes for layer in kept.layers)
    config = json.loads((tmp_path / "config.json").read_text())
    weighed = weigh(read_stored(tmp_path), Dtype.FLOAT32, Quantization.NONE)

    need = with_work(weighed, config, Dtype.FLOAT32, cache_tokens=7)

    assert need.cache_tokens * need.cache_token_bytes == kept_bytes


def test_fewer_bits_need_less_memory(folder: Path) -> None:
    stored = read_stored(folder)
    eight, four = (weigh(stored, Dtype.BFLOAT16, each).weights_bytes for each in list(Quantization)[1:])

    assert four < eight < weigh(stored, Dtype.BFLOAT16, Quantization.NONE).weights_bytes


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 64, b"\x08" + b"\0" * 7 + b"not json"], ids=["none", "long", "no"]
)
def test_a_file_that_is_no_safetensors_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)

    with pytest.raises(ModelError, match=r"model\.safetensors"):
        read_stored(folder)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "the folder has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json of the model is not JSON"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "the model's folder has no tokenizer.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "neither model.safetensors nor"),
        (lambda folder: os.truncate(folder / "model.safetensors", 5_000), "the model's folder cannot be read"),
    ],
    ids=["no config", "a broken config", "no tokenizer", "no weights", "half of the weights"],
)
def test_a_folder_with_something_amiss_is_refused_on_one_line(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    """It is what the owner reads; a library's own words would be a page of them."""
    spoiled = shutil.copytree(folder, tmp_path / "spoiled")
    spoil(spoiled)
    with pytest.raises(ModelError, match=re.escape(said)) as refused:
        tiny.open_model(spoiled)

    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_task_that_the_model_was_not_made_for_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"lacks \d+ weights of this task.* TASK=auto finds it"):
        tiny.open_model(folder, TASK="question-answering")


def test_what_was_chosen_is_said_in_one_event(folder: Path) -> None:
    loaded, said = load(folder, device="cpu")

    assert (said["device.chosen"]["device"], loaded.device) == ("cpu", "cpu")
    assert said["device.chosen"]["dtype"] == "float32"
    assert said["device.chosen"]["attention"] == "sdpa"
    assert said["device.chosen"]["quantization"] == "none"
    assert "parameters x 4 bytes (float32)" in said["device.chosen"]["why"]


def test_an_attention_kernel_that_is_asked_for_is_used(folder: Path) -> None:
    assert load(folder, attention=Attention.EAGER)[1]["device.chosen"]["attention"] == "eager"


def test_a_model_that_cannot_fit_is_refused_before_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(machine.read_devices()[-1], free_bytes=100_000)
    monkeypatch.setattr(machine, "read_devices", lambda: [small])
    monkeypatch.setattr("transformers.AutoModelForSequenceClassification.from_pretrained", pytest.fail)

    with pytest.raises(ModelError, match=r"does not fit: it needs .* parameters x 4 bytes .* cpu has 0\.1 MiB free"):
        load(folder)


def test_a_dtype_that_answers_as_float32_is_used(calm: Path) -> None:
    import torch

    loaded, said = load(calm, dtype=Dtype.BFLOAT16)

    assert loaded.model.dtype is torch.bfloat16
    assert said["device.dtype_checked"]["cosine_min"] >= 0.999


@pytest.mark.parametrize("cosine", [0.99, float("nan")])
def test_a_dtype_that_does_not_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, cosine: float) -> None:
    import torch

    monkeypatch.setattr(exactness, "least_cosine", lambda model, reference: cosine)

    loaded, said = load(folder, dtype=Dtype.BFLOAT16)

    assert loaded.model.dtype is torch.float32
    assert "device.dtype_refused" in said
    assert said["device.chosen"]["dtype"] == "float32"


def test_models_of_other_weights_are_far_apart(tmp_path: Path) -> None:
    one, other = (load(tiny.make_model(tmp_path / str(seed), CLASSIFIER, seed=seed))[0].model for seed in (11, 12))

    assert exactness.least_cosine(one, one) > 0.9999
    assert exactness.least_cosine(one, other) < exactness.COSINE_MIN


@pytest.mark.parametrize("quantization", [Quantization.EIGHT_BITS, Quantization.FOUR_BITS])
def test_a_model_is_quantized_if_the_owner_says_so(calm: Path, quantization: Quantization) -> None:
    plain, (loaded, said) = load(calm)[0], load(calm, quantization=quantization)

    assert loaded.model.get_memory_footprint() < plain.model.get_memory_footprint()
    assert said["device.chosen"]["quantization"] == quantization
    assert exactness.least_cosine(loaded.model, plain.model) > 0.9


def test_a_models_head_is_never_quantized(calm: Path) -> None:
    """Its few rows are more than 4 bits can serve on a CPU, and an answer hangs on each of them."""
    import torch

    assert type(load(calm, quantization=Quantization.FOUR_BITS)[0].model.classifier) is torch.nn.Linear


def test_a_quantized_engine_answers(folder: Path) -> None:
    engine = tiny.open_model(folder, QUANTIZATION="8bit")

    assert len(tiny.run(engine, ["the film was good", "bad"])) == 2


def test_a_model_that_is_stored_quantized_is_run_as_it_is(folder: Path, tmp_path: Path) -> None:
    load(folder, quantization=Quantization.EIGHT_BITS)[0].model.save_pretrained(tmp_path / "stored")

    said = load(tmp_path / "stored")[1]

    assert said["device.chosen"]["quantization"] == "bitsandbytes"
    with pytest.raises(ModelError, match="stored quantized already"):
        load(tmp_path / "stored", quantization=Quantization.FOUR_BITS)


def test_a_missing_package_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.hardware.plan.util.find_spec", lambda name: None)

    with pytest.raises(ModelError, match=r"accelerate and bitsandbytes: pip install -r .*requirements-large"):
        load(folder, quantization=Quantization.FOUR_BITS)
