"""Token classification gives the entities that the pipeline of transformers gives, by each of its strategies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.worker.tiny import make_model, open_model, run, run_together
from worker.engine import Engine
from worker.engines.tasks.entities import STRATEGIES
from worker.errors import InputError

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
TEXTS = [
    "Ann lives in Berlin.",
    "was badly filmlys, very longly good, annlin in berlin and not in lives?",
    "",
    "zzz unknown words, in Berlin",
    "the film was good " * 40,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(
        tmp_path_factory.mktemp("tokens"), "BertForTokenClassification", id2label=dict(enumerate(LABELS))
    )


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return open_model(folder, BATCH_TOKENS_MAX="80")


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    import transformers

    return transformers.pipeline("token-classification", model=str(folder), device="cpu")


def assert_same(rows: Any, expected: Any) -> None:
    for row, other in zip(rows, expected, strict=True):
        assert [one | {"score": 0} for one in row] == [one | {"score": 0} for one in other]
        assert [one["score"] for one in row] == pytest.approx([one["score"] for one in other], abs=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_entities_are_the_pipelines(engine: Engine, pipeline: Any, strategy: str) -> None:
    found = run(engine, TEXTS, aggregation_strategy=strategy)

    assert_same(found, [pipeline(text, aggregation_strategy=strategy) for text in TEXTS])
    assert all(found[index] for index in (0, 1, 3, 4))


def test_entities_are_put_together_unless_told_otherwise(engine: Engine, pipeline: Any) -> None:
    assert_same([run(engine, TEXTS[1])], [pipeline(TEXTS[1], aggregation_strategy="simple")])


def test_jobs_that_run_together_get_the_pipelines_entities(engine: Engine, pipeline: Any) -> None:
    """However each wants its tokens put together."""
    jobs: list[tuple[Any, dict[str, Any]]] = [
        (TEXTS[index], {"aggregation_strategy": strategy}) for index, strategy in enumerate(STRATEGIES)
    ]

    assert_same(run_together(engine, jobs), [pipeline(text, **parameters) for text, parameters in jobs])


def test_places_are_of_the_text_as_it_came(engine: Engine) -> None:
    """The tokenizer lowers letters, and the text's own are still what start and end count."""
    for entity in run(engine, TEXTS[1]):
        word = entity["word"].replace("##", "").replace(" ", "")

        assert TEXTS[1][entity["start"] : entity["end"]].lower().replace(" ", "") == word


def test_a_text_that_is_too_long_is_cut_or_refused(engine: Engine) -> None:
    assert run(engine, TEXTS[4])[-1]["end"] < len(TEXTS[4])
    with pytest.raises(InputError, match=r"^inputs\[1\] has over 64 tokens"):
        run(engine, ["fine", TEXTS[4]], truncate=False)


@pytest.mark.parametrize(
    "parameters",
    [{"aggregation_strategy": "best"}, {"aggregation_strategy": []}, {"stride": 3}, {"truncate": 1}],
    ids=str,
)
def test_parameters_of_no_meaning_are_refused(engine: Engine, parameters: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^(unknown )?parameter [^\n]+$"):
        run(engine, "a text", **parameters)
