"""Zero-shot classification gives the labels and scores that the pipeline of transformers gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.worker.tiny import make_model, open_model, run, run_together
from worker.engine import Engine
from worker.errors import InputError, ModelError

TEXTS = ["the film was good", "ann lives in berlin, very long", "bad", "the film was not very good " * 30]
LABELS = ["film", "berlin", "very good"]
LAST = {0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"}
FIRST = {0: "entailment", 1: "neutral", 2: "contradiction"}


@pytest.fixture(scope="module", params=[LAST, FIRST], ids=["entailment last", "entailment first"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    ids = {name: index for index, name in request.param.items()}
    folder = tmp_path_factory.mktemp("nli")
    return make_model(folder, "BertForSequenceClassification", id2label=request.param, label2id=ids)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return open_model(folder, TASK="zero-shot-classification", BATCH_TOKENS_MAX="150")


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    import transformers

    return transformers.pipeline("zero-shot-classification", model=str(folder), device="cpu")


def assert_same(rows: Any, expected: Any) -> None:
    for row, other in zip(rows, expected, strict=True):
        assert (row["sequence"], row["labels"]) == (other["sequence"], other["labels"])
        assert row["scores"] == pytest.approx(other["scores"], abs=1e-5)


@pytest.mark.parametrize(
    "parameters",
    [
        {"candidate_labels": LABELS},
        {"candidate_labels": LABELS, "multi_label": True},
        {"candidate_labels": "film, berlin ,bad"},
        {"candidate_labels": ["film"]},
        {"candidate_labels": LABELS, "hypothesis_template": "who lives in {}?"},
    ],
    ids=["labels", "multi label", "one string", "one label", "template"],
)
def test_labels_and_scores_are_the_pipelines(engine: Engine, pipeline: Any, parameters: dict[str, Any]) -> None:
    """The long text is cut, and its label is not."""
    assert_same(run(engine, TEXTS, **parameters), pipeline(TEXTS, **parameters))
    assert_same([run(engine, TEXTS[0], **parameters)], [pipeline(TEXTS[0], **parameters)])


def test_jobs_that_run_together_get_the_pipelines_labels(engine: Engine, pipeline: Any) -> None:
    jobs: list[tuple[Any, dict[str, Any]]] = [
        (TEXTS[0], {"candidate_labels": LABELS}),
        (TEXTS[3], {"candidate_labels": LABELS[:2], "multi_label": True}),
        (TEXTS[1], {"candidate_labels": "bad,good", "hypothesis_template": "{} film"}),
    ]

    assert_same(run_together(engine, jobs), [pipeline(text, **parameters) for text, parameters in jobs])


def test_a_template_is_no_format_string(engine: Engine) -> None:
    """As one it could read the worker's own objects, or fill its memory."""
    answer = run(engine, "bad", candidate_labels=["good"], hypothesis_template="{} {0.__class__} {:>99999999999}")

    assert answer["labels"] == ["good"]


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        pytest.param({}, "parameter candidate_labels is missing", id="none"),
        pytest.param({"candidate_labels": []}, "candidate_labels has 0 texts", id="empty"),
        pytest.param({"candidate_labels": " , "}, "candidate_labels has 0 texts", id="commas"),
        pytest.param(
            {"candidate_labels": 3}, "candidate_labels must be a list of strings, not a number", id="number"
        ),
        pytest.param({"candidate_labels": ["a", None]}, r"candidate_labels\[1\] is null", id="null"),
        pytest.param({"candidate_labels": ["a", "bad " * 60]}, r"candidate_labels\[1\] leaves no room", id="long"),
        pytest.param({"candidate_labels": ["a"], "hypothesis_template": "x"}, "parameter hypothesis_te", id="plain"),
        pytest.param({"candidate_labels": ["a"], "hypothesis_template": "{}{}"}, "parameter hypothesis_te", id="two"),
        pytest.param({"candidate_labels": ["a"], "multi_label": 1}, "parameter multi_label", id="flag"),
        pytest.param({"candidate_labels": ["a"], "labels": ["a"]}, "unknown parameter 'labels'", id="unknown"),
        pytest.param({"candidate_labels": ["a"] * 2048}, "4 texts with 2048 labels are 8192 pairs", id="too many"),
        pytest.param({"candidate_labels": ["a"], "truncate": False}, r"inputs\[3\] and a label have over", id="cut"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(engine: Engine, parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=f"^{told}[^\n]*$"):
        run(engine, TEXTS, **parameters)


def test_a_classifier_without_entailment_is_refused(tmp_path: Path) -> None:
    make_model(tmp_path, "BertForSequenceClassification", num_labels=3)

    with pytest.raises(ModelError, match="entailment"):
        open_model(tmp_path, TASK="zero-shot-classification")
