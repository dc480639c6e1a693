"""Question answering gives the answers that the pipeline of transformers 4 gave; 5 has it no more.

What scores spans is still in transformers, for documents, and is what these answers are held against. The windows,
words and sums around it are written out here, window by window and without padding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.worker.tiny import make_model, open_model, run, run_together
from worker.engine import Engine
from worker.errors import InputError

SHORT = {"question": "who lives in berlin?", "context": "Ann lives in Berlin, and the film was very badly long."}
LONG = {"question": "was the film good?", "context": " ".join(f"film {n} was good, ann was bad." for n in range(60))}
EXACT = {"question": "who?", "context": "ann"}
ALL = [SHORT, LONG, EXACT]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("answers"), "BertForQuestionAnswering")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    """Windows of 64 tokens, since the model has no more positions."""
    return open_model(folder, BATCH_TOKENS_MAX="200")


@pytest.fixture(scope="module")
def answer(folder: Path) -> Any:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    return lambda asked, **parameters: plainly(tokenizer, model, asked, **parameters)


def plainly(tokenizer: Any, model: Any, asked: dict[str, str], **parameters: Any) -> list[dict[str, Any]]:
    """Return the answers, by windows that run one at a time."""
    import numpy as np
    import torch
    from transformers.pipelines.document_question_answering import select_starts_ends

    top_k, stride = parameters.get("top_k", 1), parameters.get("doc_stride", 32)
    windows = tokenizer(
        asked["question"], asked["context"], truncation="only_second", max_length=64, stride=stride,
        return_overflowing_tokens=True, return_token_type_ids=True,
    )  # fmt: skip
    found: list[dict[str, Any]] = []
    null = 1_000_000.0
    for index, encoding in enumerate(windows.encodings):
        names = tokenizer.model_input_names
        with torch.inference_mode():
            output = model(**{name: torch.tensor([windows[name][index]]) for name in names})
        outside = np.array([[sequence != 1 for sequence in encoding.sequence_ids]])
        outside[np.array([encoding.ids]) == tokenizer.cls_token_id] = False
        starts, ends, scores, null = select_starts_ends(
            output.start_logits.numpy(), output.end_logits.numpy(), outside.astype(int),
            np.ones_like(outside, dtype=int), null, top_k * 2 + 10,
            parameters.get("handle_impossible_answer", False), parameters.get("max_answer_len", 15),
        )  # fmt: skip
        for first, last, score in zip(starts.tolist(), ends.tolist(), scores.tolist(), strict=True):
            if score > 0:
                span = [encoding.word_to_chars(encoding.token_to_word(place), 1) for place in (first, last)]
                add(found, asked["context"], score, span[0][0], span[1][1])
    if parameters.get("handle_impossible_answer"):
        found.append({"score": null, "start": 0, "end": 0, "answer": ""})
    return sorted(found, key=lambda one: -one["score"])[:top_k]


def add(found: list[dict[str, Any]], context: str, score: float, start: int, end: int) -> None:
    for one in found:
        if one["answer"].lower() == context[start:end].lower():
            one["score"] += score
            return
    found.append({"score": score, "start": start, "end": end, "answer": context[start:end]})


def assert_same(answers: Any, expected: Any) -> None:
    assert [one | {"score": 0} for one in answers] == [one | {"score": 0} for one in expected]
    assert [one["score"] for one in answers] == pytest.approx([one["score"] for one in expected], abs=1e-5)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"top_k": 4},
        {"top_k": 3, "max_answer_len": 2},
        {"top_k": 3, "handle_impossible_answer": True},
        {"doc_stride": 8, "top_k": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("asked", ALL, ids=["short", "long", "one word"])
def test_answers_are_the_pipelines(
    engine: Engine, answer: Any, asked: dict[str, str], parameters: dict[str, Any]
) -> None:
    answers = run(engine, asked, **parameters)

    assert_same(answers if "top_k" in parameters else [answers], answer(asked, **parameters))


def test_jobs_that_run_together_get_their_own_answers(engine: Engine, answer: Any) -> None:
    """A long context is many windows, which run among those of the others."""
    jobs: list[tuple[Any, dict[str, Any]]] = [(LONG, {}), (ALL, {"top_k": 2}), (SHORT, {"max_answer_len": 1})]
    long, everything, short = run_together(engine, jobs)

    assert_same([long, short], [*answer(LONG), *answer(SHORT, max_answer_len=1)])
    for answers, asked in zip(everything, ALL, strict=True):
        assert_same(answers, answer(asked, top_k=2))


def test_an_answer_stands_where_it_is_said_to(engine: Engine) -> None:
    """The end of a long context is read, too: here all that is in it is among the best hundred, once each."""
    context = LONG["context"].partition(" film 7 ")[0]
    answers = run(engine, LONG | {"context": context}, top_k=100, max_answer_len=1)

    assert all(one["answer"] == context[one["start"] : one["end"]] for one in answers)
    assert {one["answer"] for one in answers} >= {str(number) for number in range(7)}


def test_an_answer_may_be_as_long_as_its_window(engine: Engine) -> None:
    """Whoever wants no bound writes a large one."""
    assert run(engine, LONG, max_answer_len=10**30) == run(engine, LONG, max_answer_len=64)


@pytest.mark.parametrize(
    ("inputs", "parameters", "told"),
    [
        pytest.param("who?", {}, "inputs must be an object with question and context or a list", id="text"),
        pytest.param([], {}, "inputs has 0 questions", id="none"),
        pytest.param([EXACT, {"question": "who?"}], {}, r"inputs\[1\] has no context", id="no context"),
        pytest.param([EXACT, "who?"], {}, r"inputs\[1\] must be an object", id="text in a list"),
        pytest.param(EXACT | {"context": " "}, {}, "inputs.context is empty", id="empty"),
        pytest.param(EXACT | {"question": 3}, {}, "inputs.question is a number", id="number"),
        pytest.param(EXACT | {"question": "who " * 70}, {}, "inputs.question has too many tokens", id="long"),
        pytest.param(EXACT, {"doc_stride": 60}, "inputs.question has too many tokens: with doc_st", id="stride"),
        pytest.param(LONG | {"context": "ann " * 3000}, {"doc_stride": 55}, "inputs takes about 2", id="windows"),
        pytest.param(EXACT, {"top_k": 101}, "parameter top_k must be from 1 to 100", id="top_k"),
        pytest.param(EXACT, {"max_answer_len": 0}, "parameter max_answer_len", id="length"),
        pytest.param(EXACT, {"handle_impossible_answer": "no"}, "parameter handle_impossible_answer", id="flag"),
        pytest.param(EXACT, {"topk": 1}, "unknown parameter 'topk'", id="unknown"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    engine: Engine, inputs: Any, parameters: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=f"^{told}[^\n]*$"):
        run(engine, inputs, **parameters)
