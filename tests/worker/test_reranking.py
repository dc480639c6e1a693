"""Reranking gives what transformers gives for each pair alone, best first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.worker.tiny import make_model, open_model, run, run_together
from worker.engine import Engine
from worker.errors import InputError, ModelError

QUERY = "who lives in berlin ?"
TEXTS = ["ann lives in berlin .", "the film was bad", "", "the film was not very long and good " * 20, "berlin"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("reranker"), "BertForSequenceClassification", num_labels=1)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    """TASK is `auto`: a classifier of one label is a reranker. Each job takes several passes."""
    return open_model(folder, BATCH_TOKENS_MAX="80")


@pytest.fixture(scope="module")
def scores(folder: Path) -> list[float]:
    """Those of transformers' own pipeline, which takes pairs too, one at a time and without padding."""
    import transformers

    pipeline = transformers.pipeline("text-classification", model=str(folder), device="cpu", truncation=True)
    # An empty second text would be no second text to it.
    pairs = [{"text": QUERY, "text_pair": text or " "} for text in TEXTS]
    return [pipeline(pair, function_to_apply="none")["score"] for pair in pairs]


def by_index(ranking: list[dict[str, Any]]) -> list[float]:
    return [one["score"] for one in sorted(ranking, key=lambda one: one["index"])]


def test_raw_scores_are_the_pipelines(engine: Engine, scores: list[float]) -> None:
    ranking = run(engine, {"query": QUERY, "texts": TEXTS}, raw_scores=True)

    assert by_index(ranking) == pytest.approx(scores, abs=1e-5)
    assert [one["score"] for one in ranking] == sorted((one["score"] for one in ranking), reverse=True)


def test_scores_are_between_0_and_1_unless_raw(engine: Engine, scores: list[float]) -> None:
    import torch

    expected = torch.tensor(scores).sigmoid().tolist()

    assert by_index(run(engine, {"query": QUERY, "texts": TEXTS})) == pytest.approx(expected, abs=1e-5)


def test_jobs_that_run_together_get_what_they_get_alone(engine: Engine) -> None:
    """Whatever their lengths, and whatever each wants to see of its ranking."""
    jobs: list[tuple[Any, dict[str, Any]]] = [
        ({"query": QUERY, "texts": TEXTS}, {"raw_scores": True}),
        ({"query": "bad ?", "texts": TEXTS[:2]}, {"top_n": 1}),
        ({"query": "the " * 70, "texts": TEXTS[3:]}, {}),
    ]
    for (inputs, parameters), ranking in zip(jobs, run_together(engine, jobs), strict=True):
        alone = run(engine, inputs, **parameters)

        assert [one["index"] for one in ranking] == [one["index"] for one in alone]
        assert [one["score"] for one in ranking] == pytest.approx([one["score"] for one in alone], abs=1e-5)


@pytest.mark.parametrize(("top_n", "count"), [(1, 1), (3, 3), (99, 5), (None, 5)])
def test_top_n_keeps_the_best(engine: Engine, top_n: int | None, count: int) -> None:
    everything = run(engine, {"query": QUERY, "texts": TEXTS})

    assert run(engine, {"query": QUERY, "texts": TEXTS}, top_n=top_n) == everything[:count]


def test_a_pair_that_is_too_long_is_refused_when_it_may_not_be_cut(engine: Engine) -> None:
    with pytest.raises(InputError, match=r"^inputs.query and inputs.texts\[3\] have over 64 tokens"):
        run(engine, {"query": QUERY, "texts": TEXTS}, truncate=False)


@pytest.mark.parametrize(
    ("inputs", "parameters", "told"),
    [
        pytest.param("a text", {}, "inputs must be an object with query and texts, not a string", id="text"),
        pytest.param({"query": "a"}, {}, "inputs has no texts", id="no texts"),
        pytest.param({"query": "a", "texts": []}, {}, "inputs.texts has 0 texts", id="empty"),
        pytest.param({"query": "a", "texts": "b"}, {}, "inputs.texts must be a list", id="one text"),
        pytest.param({"query": "a", "texts": ["b", 3]}, {}, r"inputs.texts\[1\] is a number", id="number"),
        pytest.param({"query": None, "texts": ["b"]}, {}, "inputs.query is null", id="no query"),
        pytest.param({"query": "a", "texts": ["b"], "x\n": 1}, {}, r"inputs has an unknown field 'x\\n'", id="field"),
        pytest.param({"query": "a", "texts": ["b"]}, {"top_n": 0}, "parameter top_n", id="top_n"),
        pytest.param({"query": "a", "texts": ["b"]}, {"top_k": 1}, "unknown parameter 'top_k'", id="unknown"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    engine: Engine, inputs: Any, parameters: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=f"^{told}") as refused:
        run(engine, inputs, **parameters)

    assert "\n" not in str(refused.value)


def test_a_classifier_of_several_labels_is_no_reranker(tmp_path: Path) -> None:
    make_model(tmp_path, "BertForSequenceClassification", num_labels=3)

    with pytest.raises(ModelError, match="3 labels"):
        open_model(tmp_path, TASK="reranking")
