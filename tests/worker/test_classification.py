"""Classification gives what the pipeline of transformers gives, for a list as for a text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.worker.conftest import Run, load
from worker.errors import InputError, ModelError

TEXTS = ["the film was good", "awful", "", "the film was really not very long and not very short and fine"]


@pytest.fixture(scope="module")
def folder(make_classifier: Callable[..., Path]) -> Path:
    return make_classifier()


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """TASK is `auto`: the architecture's name says what the model is for."""
    return load(MODEL=str(folder), BATCH_TOKENS_MAX="16")


def pipeline(folder: Path) -> Any:
    import transformers

    return transformers.pipeline("text-classification", model=str(folder), device="cpu")


def assert_same(rows: Any, expected: Any) -> None:
    assert [[label["label"] for label in row] for row in rows] == [
        [label["label"] for label in row] for row in expected
    ]
    for row, other in zip(rows, expected, strict=True):
        assert [label["score"] for label in row] == pytest.approx([label["score"] for label in other], abs=1e-5)


@pytest.mark.parametrize("parameters", [{}, {"function_to_apply": "sigmoid"}, {"function_to_apply": "none"}], ids=str)
def test_labels_and_scores_are_the_pipelines(run: Run, folder: Path, parameters: dict[str, Any]) -> None:
    assert_same(run(TEXTS, **parameters).outputs, pipeline(folder)(TEXTS, top_k=None, **parameters))


@pytest.mark.parametrize(
    "config",
    [
        {"problem_type": "multi_label_classification"},
        {"num_labels": 1},
        {"problem_type": "regression", "num_labels": 1},
    ],
    ids=["multi label", "one label", "regression"],
)
def test_scores_are_made_as_the_model_was_trained(
    make_classifier: Callable[..., Path], config: dict[str, Any]
) -> None:
    folder = make_classifier(**config)

    # Told, because one label alone would be taken for a reranker.
    run = load(MODEL=str(folder), TASK="text-classification")

    assert_same(run(TEXTS).outputs, pipeline(folder)(TEXTS, top_k=None))


def test_a_text_gives_its_labels_best_first(run: Run) -> None:
    labels = run("the film was good").outputs
    scores = [label["score"] for label in labels]

    assert {label["label"] for label in labels} == {"label 0", "label 1", "label 2"}
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1)


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (2, 2), (99, 3), (None, 3)])
def test_top_k_keeps_the_best(run: Run, top_k: int | None, count: int) -> None:
    everything = run("awful").outputs

    assert run("awful", top_k=top_k).outputs == everything[:count]


@pytest.mark.parametrize(
    "parameters",
    [
        {"top_k": 0},
        {"top_k": True},
        {"top_k": 1.5},
        {"function_to_apply": "tanh"},
        {"function_to_apply": []},
        {"normalize": True},
    ],
    ids=str,
)
def test_parameters_of_no_meaning_are_refused(run: Run, parameters: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        run("awful", **parameters)


def test_a_text_that_is_too_long_is_cut_or_refused(run: Run) -> None:
    """This model has 16 positions."""
    assert run("good " * 50).tokens == 16
    with pytest.raises(InputError, match=r"^inputs has over 16 tokens"):
        run("good " * 50, truncate=False)


@pytest.mark.model
def test_a_model_without_a_classifier_is_not_served_as_one(minilm_folder: Path) -> None:
    """Its missing weights would be random numbers, and it would answer all the same."""
    with pytest.raises(ModelError, match="classifier"):
        load(MODEL=str(minilm_folder), TASK="text-classification")
