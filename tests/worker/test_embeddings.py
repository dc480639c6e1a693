"""Embeddings of the real MiniLM are the ones that plain transformers gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.worker.conftest import Run, load
from worker.encoding import encode
from worker.errors import InputError, ModelError

pytestmark = pytest.mark.model

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "",
    "Ein Satz mit Umlauten: äöü, und ein Emoji 🦊",
    "short",
    "long " * 400,
    "The fox again. " * 12,
]


@pytest.fixture(scope="module")
def plain(minilm_folder: Path) -> Any:
    """Mean pooling as the model's own card has it, one text at a time, so without padding or batches."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm_folder)
    model = transformers.AutoModel.from_pretrained(minilm_folder).eval()

    def embed(text: str, *, normalize: bool = True, cls: bool = False) -> list[float]:
        inputs = tokenizer([text], truncation=True, max_length=256, padding=False, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**inputs).last_hidden_state[0]
        vector = hidden[0] if cls else hidden.mean(dim=0)
        values: list[float] = (vector / vector.norm() if normalize else vector).tolist()
        return values

    return embed


@pytest.mark.parametrize("normalize", [True, False], ids=["normalized", "as pooled"])
def test_vectors_are_those_of_plain_transformers(run_minilm: Run, plain: Any, normalize: bool) -> None:
    """Whatever their order, their lengths and the batches they fall into."""
    vectors = run_minilm(TEXTS, normalize=normalize).outputs

    assert len(vectors) == len(TEXTS)
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert vector == pytest.approx(plain(text, normalize=normalize), abs=1e-4)


def test_an_answer_has_the_digits_that_a_float32_needs_and_no_more(run_minilm: Run) -> None:
    """As doubles the same numbers would be twice as long, for every hop and every caller to read."""
    import numpy as np

    vector = run_minilm("hello").outputs
    sent = encode(vector)

    assert len(sent) < 13 * len(vector)
    assert np.array_equal(np.array(json.loads(sent), dtype=np.float32), vector)


def test_an_answer_that_is_kept_keeps_no_others(run_minilm: Run) -> None:
    """Of a batch of a hundred texts one answer may wait for its caller for minutes."""
    vectors = run_minilm(["one", "two", "three"]).outputs

    assert [vector.base for vector in vectors] == [None, None, None]


def test_vectors_are_normalized_unless_told_otherwise(run_minilm: Run) -> None:
    """The model's own modules.json asks for it."""
    vector = run_minilm("hello").outputs

    assert sum(value * value for value in vector) == pytest.approx(1, abs=1e-5)


def test_a_text_gives_a_vector_and_a_list_gives_a_list(run_minilm: Run) -> None:
    single, several = run_minilm("hello").outputs, run_minilm(["hello"]).outputs

    assert len(several) == 1
    assert len(single) == len(several[0]) == 384
    assert single == pytest.approx(several[0], abs=1e-6)


def test_tokens_are_counted_without_padding(run_minilm: Run) -> None:
    """Two special tokens and the words; what is cut off is not counted, for it does not run."""
    assert run_minilm(["hello world", "", "long " * 400]).tokens == 4 + 2 + 256


def test_a_text_that_is_too_long_is_refused_when_it_may_not_be_cut(run_minilm: Run) -> None:
    assert run_minilm("long " * 254, truncate=False).tokens == 256
    with pytest.raises(InputError, match=r"^inputs\[1\] has over 256 tokens"):
        run_minilm(["fine", "long " * 255], truncate=False)


@pytest.mark.parametrize("parameters", [{"normalize": 1}, {"truncate": None}, {"top_k": 3}, {"": True}], ids=str)
def test_parameters_of_no_meaning_are_refused(run_minilm: Run, parameters: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        run_minilm("hello", **parameters)


@pytest.fixture
def copy(minilm_folder: Path, tmp_path: Path) -> Path:
    """A folder of the same model whose configuration can be changed."""
    folder = tmp_path / "model"
    shutil.copytree(minilm_folder, folder, copy_function=_link)
    return folder


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(source)


def rewrite(path: Path, content: Any) -> None:
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(content))


def test_the_first_tokens_vector_is_taken_where_the_folder_says_cls(copy: Path, plain: Any) -> None:
    rewrite(copy / "1_Pooling" / "config.json", {"pooling_mode": "cls"})
    vectors = load(MODEL=str(copy))(["a short one", "and one of many more words than the other"]).outputs

    assert vectors[0] == pytest.approx(plain("a short one", cls=True), abs=1e-4)


def test_the_last_tokens_vector_is_of_the_text_and_not_of_its_padding(copy: Path) -> None:
    rewrite(copy / "1_Pooling" / "config.json", {"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False})
    run = load(MODEL=str(copy))
    alone, padded = run("a short one").outputs, run(["a short one", "one of many more words"]).outputs[0]

    assert alone == pytest.approx(padded, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, id="unknown pooling"),
        pytest.param(
            "modules.json", [{"type": "x.Transformer", "path": ""}, {"type": "x.Dense", "path": "2"}], id="a step"
        ),
        pytest.param("config_sentence_transformers.json", {"default_prompt_name": "query"}, id="a prompt"),
    ],
)
def test_a_model_that_would_give_wrong_vectors_is_not_loaded(copy: Path, name: str, content: Any) -> None:
    """An embedding that is wrong looks like one that is right."""
    rewrite(copy / name, content)

    with pytest.raises(ModelError):
        load(MODEL=str(copy))
