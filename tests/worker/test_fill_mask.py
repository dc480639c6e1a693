"""Fill-mask gives the tokens that the pipeline of transformers gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.worker.tiny import VOCABULARY, make_model, open_model, run, run_together
from worker.engine import Engine
from worker.errors import InputError
from worker.folder import read_task
from worker.settings import Task

TEXTS = ["Ann lives in [MASK].", "[MASK]", "the film was not very [MASK], and not very long was the film?"]
TWO = "the [MASK] was very [MASK]."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("masked"), "BertForMaskedLM")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return open_model(folder, BATCH_TOKENS_MAX="24")


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    import transformers

    return transformers.pipeline("fill-mask", model=str(folder), device="cpu")


def assert_same(proposals: Any, expected: Any) -> None:
    if isinstance(expected[0], list):
        for one, other in zip(proposals, expected, strict=True):
            assert_same(one, other)
        return
    assert [one | {"score": 0} for one in proposals] == [one | {"score": 0} for one in expected]
    assert [one["score"] for one in proposals] == pytest.approx([one["score"] for one in expected], abs=1e-5)


@pytest.mark.parametrize("parameters", [{}, {"top_k": 1}, {"top_k": 2, "targets": ["good", "bad", "film"]}], ids=str)
@pytest.mark.parametrize(
    "inputs", [TEXTS, TEXTS[0], TWO, [TWO, TEXTS[2]]], ids=["list", "text", "two masks", "mixed"]
)
def test_proposals_are_the_pipelines(engine: Engine, pipeline: Any, inputs: Any, parameters: dict[str, Any]) -> None:
    assert_same(run(engine, inputs, **parameters), pipeline(inputs, **parameters))


def test_jobs_that_run_together_get_the_pipelines_proposals(engine: Engine, pipeline: Any) -> None:
    """However many each wants to see, and of whichever words."""
    jobs: list[tuple[Any, dict[str, Any]]] = [
        (TEXTS, {"top_k": 3}),
        (TWO, {"targets": ["bad", "good"]}),
        (TEXTS[2], {}),
    ]

    for proposals, (inputs, parameters) in zip(run_together(engine, jobs), jobs, strict=True):
        assert_same(proposals, pipeline(inputs, **parameters))


def test_no_more_than_the_vocabulary_is_proposed(engine: Engine) -> None:
    assert len(run(engine, TEXTS[0], top_k=10_000)) == len(VOCABULARY)


@pytest.mark.parametrize(
    ("inputs", "parameters", "told"),
    [
        pytest.param("a text", {}, r"inputs has no \[MASK\]", id="no mask"),
        pytest.param([TWO, "good"], {}, r"inputs\[1\] has no \[MASK\]", id="one without"),
        pytest.param("good " * 80 + "[MASK]", {}, r"inputs has no \[MASK\] in its first 64 tokens", id="cut off"),
        pytest.param("good " * 80 + "[MASK]", {"truncate": False}, "inputs has over 64 tokens", id="too long"),
        pytest.param(TWO, {"targets": ["good", "goodly"]}, r"targets\[1\] is not one token", id="two tokens"),
        pytest.param(TWO, {"targets": "zzz"}, r"targets\[0\] is not one token", id="unknown word"),
        pytest.param(TWO, {"targets": []}, "targets has 0 texts", id="no target"),
        pytest.param(TWO, {"targets": 7}, "targets must be a list of strings, not a number", id="number"),
        pytest.param(TWO, {"top_k": "5"}, "parameter top_k", id="text for a number"),
        pytest.param(TWO, {"top": 5}, "unknown parameter 'top'", id="unknown"),
        pytest.param([TWO] * 1000, {"top_k": 25}, "inputs and top_k ask for 50000 proposals", id="too many"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    engine: Engine, inputs: Any, parameters: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=f"^{told}[^\n]*$"):
        run(engine, inputs, **parameters)


def test_a_model_that_makes_vectors_is_not_taken_for_this(tmp_path: Path) -> None:
    """Models that were trained on for embeddings often keep the name of what they were."""
    (tmp_path / "config.json").write_text('{"architectures": ["MPNetForMaskedLM"]}')
    assert read_task(tmp_path) is Task.FILL_MASK
    (tmp_path / "modules.json").write_text("[]")
    assert read_task(tmp_path) is Task.EMBEDDINGS
