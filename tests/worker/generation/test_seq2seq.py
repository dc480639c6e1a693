"""Sequence to sequence: what plain transformers writes, one by one, whoever is in the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gate import wire
from tests.worker.generation.makers import load, make_seq2seq, make_translator
from tests.worker.tiny import run_together
from worker.errors import InputError, ModelError

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


def translated(folder: Path, text: str, source: str, target: str) -> str:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, src_lang=source)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    forced = tokenizer.convert_tokens_to_ids(target)
    with torch.inference_mode():
        encoded = tokenizer(text, return_tensors="pt")
        written = model.generate(**encoded, max_new_tokens=8, forced_bos_token_id=forced)
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


TRANSLATIONS = {f"translation_en_to_{code}": {"prefix": f"to {code}: "} for code in ("de", "fr")}


def test_a_task_that_names_its_languages_takes_their_prefix(tmp_path: Path) -> None:
    """The pipelines of transformers do, and T5 needs it."""
    folder = make_seq2seq(tmp_path, "T5", task_specific_params=TRANSLATIONS)
    options: dict[str, Any] = {"max_new_tokens": 8}
    answered = run_together(load(folder, TASK="translation_en_to_fr"), [(TEXTS[0], options)])

    assert answered == [[{"translation_text": reference(folder, f"to fr: {TEXTS[0]}", **options)}]]


def test_languages_that_the_model_does_not_have_stop_the_start(tmp_path: Path) -> None:
    folder = make_seq2seq(tmp_path, "T5", task_specific_params=TRANSLATIONS)
    with pytest.raises(ModelError, match=r"translation_en_to_cs is not among .* translation_en_to_fr"):
        load(folder, TASK="translation_en_to_cs")


def test_a_language_that_the_tokenizer_does_not_know_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="TASK names a language that the model does not know: parameter tgt_lang"):
        load(make_translator(tmp_path), TASK="translation_eng_Latn_to_klingon")


@pytest.mark.parametrize(
    ("told", "source", "target"),
    [
        ({}, "eng_Latn", "deu_Latn"),
        ({"tgt_lang": "ces_Latn"}, "eng_Latn", "ces_Latn"),
        ({"src_lang": "fra_Latn", "tgt_lang": "eng_Latn"}, "fra_Latn", "eng_Latn"),
    ],
    ids=["as TASK says", "into another", "both"],
)
def test_a_model_of_many_languages_translates_between_those_that_are_named(
    told: dict[str, str], source: str, target: str, tmp_path: Path
) -> None:
    folder, text = make_translator(tmp_path), "the fox was once"
    engine = load(folder, TASK="translation_eng_Latn_to_deu_Latn")
    jobs: list[tuple[Any, dict[str, Any]]] = [
        (text, {"max_new_tokens": 8, **told}),
        (TEXTS[0], {"max_new_tokens": 8}),
    ]

    assert run_together(engine, jobs)[0] == [{"translation_text": translated(folder, text, source, target)}]


@pytest.mark.parametrize(
    ("inputs", "parameters", "named"),
    [
        ([], {}, "inputs has 0 texts"),
        (["x", ""], {}, "text 2 of the job is empty"),
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
