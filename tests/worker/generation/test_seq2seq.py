"""Sequence to sequence: what plain transformers writes, one by one, whoever is in the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gate import wire
from tests.worker.generation.makers import load, make_seq2seq
from tests.worker.tiny import run_together
from worker.errors import InputError

TEXTS = ["once upon a time", "the fox", "žluťoučký kůň and the end of a long story", "a"]
KINDS = {"T5": "generated_text", "Bart": "generated_text", "Marian": "translation_text"}


def reference(folder: Path, text: str, **options: Any) -> str:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    with torch.inference_mode():
        encoded = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        written = model.generate(**encoded, **options)
    decoded: str = tokenizer.decode(written[0], skip_special_tokens=True)
    return decoded


BEAMS: dict[str, Any] = {"num_beams": 3, "length_penalty": 2.0, "no_repeat_ngram_size": 2, "repetition_penalty": 1.3}


@pytest.mark.parametrize(
    "options",
    [{"max_new_tokens": 9}, {"max_new_tokens": 7, "min_new_tokens": 5, **BEAMS}],
    ids=["1", "beams"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_writes_what_transformers_writes_alone_and_together(
    kind: str, options: dict[str, Any], tmp_path: Path
) -> None:
    folder = make_seq2seq(tmp_path, kind)
    engine = load(folder)
    expected = [[{KINDS[kind]: reference(folder, text, **options)}] for text in TEXTS]

    assert run_together(engine, [(TEXTS, options)]) == [expected]
    assert run_together(engine, [(TEXTS[1], options), (TEXTS, {"max_new_tokens": 2})])[0] == expected[1]
    assert len({str(each) for each in expected}) > 1


def test_usage_counts_what_was_written(tmp_path: Path) -> None:
    """Neither what an answer begins with, nor what fills a short one up beside a longer one."""
    engine = load(make_seq2seq(tmp_path, "Bart"))
    work = engine.prepare(wire.WorkBody(model="", inputs=TEXTS, parameters={"max_new_tokens": 9}))
    rows = engine.compute(work.items)
    alone = [engine.prepare(wire.WorkBody(model="", inputs=text, parameters={"max_new_tokens": 9})) for text in TEXTS]

    assert 0 < work.written(rows) <= 9 * len(TEXTS)
    assert work.written(rows) == sum(each.written(engine.compute(each.items)) for each in alone)


def test_a_task_of_several_is_told_by_its_prefix(tmp_path: Path) -> None:
    params = {"summarization": {"prefix": "summarize: "}, "translation_en_to_de": {"prefix": "translate: "}}
    folder = make_seq2seq(tmp_path, "T5", task_specific_params=params)
    options: dict[str, Any] = {"max_new_tokens": 8}
    answered = run_together(load(folder, TASK="summarization"), [(TEXTS[0], options)])

    assert answered == [[{"summary_text": reference(folder, f"summarize: {TEXTS[0]}", **options)}]]


@pytest.mark.parametrize(
    ("inputs", "parameters", "named"),
    [
        ([], {}, "inputs has 0 texts"),
        ({"text": "x"}, {}, "inputs must be"),
        ("x", {"num_beams": 17}, "num_beams"),
        ("x", {"num_beams": 0}, "num_beams"),
        ("x", {"length_penalty": "long"}, "length_penalty"),
        ("x", {"repetition_penalty": 0}, "repetition_penalty"),
        ("x", {"max_new_tokens": 10**9}, "max_new_tokens"),
        ("x", {"temperature": 1}, "temperature"),
        ("x", {"tgt_lang": "de"}, "tgt_lang"),
        ("x " * 100, {"truncate": False}, "truncate is false"),
    ],
)
def test_rubbish_is_refused_by_its_name(tmp_path: Path, inputs: Any, parameters: Any, named: str) -> None:
    engine = load(make_seq2seq(tmp_path, "T5"))
    with pytest.raises(InputError, match=named):
        run_together(engine, [(inputs, parameters)])
