"""Text generation: what plain transformers writes, alone and in any company, whoever joins or leaves meanwhile."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from gate import wire
from tests.worker.generation.makers import DECODERS, load, make_decoder, reference
from worker.batching.batcher import Batcher
from worker.batching.request import Computed
from worker.clock import SystemClock
from worker.errors import InputError, OutOfMemoryError, UnavailableError
from worker.log import EventLog

PROMPTS = ["once upon", "the fox was", "a", "žluťoučký kůň", "there was a long story of the end, and the fox 🐎"]
FOREVER_MS = 2**60


class Told:
    """A sink that remembers."""

    def __init__(self, on_part: Callable[[], object] = lambda: None) -> None:
        self.parts: list[str] = []
        self._on_part = on_part

    def part(self, text: str) -> None:
        self.parts.append(text)
        self._on_part()

    def progress(self, done: int, total: int) -> None:
        pass


class Bench:
    """An engine on a batcher's thread."""

    def __init__(self, engine: Any, *, room_max: int = 4_096) -> None:
        self.engine = engine
        self.batcher = Batcher(
            clock=SystemClock(), log=EventLog(io.StringIO()), tokens_max=512, batch_ms_max=200, room_max=room_max
        )
        self.batcher.use(engine)

    def send(self, inputs: Any, *, sink: Any = None, expires_ms: int = FOREVER_MS, **parameters: Any) -> Sent:
        parameters.setdefault("max_new_tokens", 12)
        work = self.engine.prepare(wire.WorkBody(model="", inputs=inputs, parameters=parameters))
        return Sent(work.finish, self.batcher.submit(work, expires_ms=expires_ms, sink=sink))


class Sent:
    def __init__(self, finish: Callable[[Any], Any], future: Future[Computed]) -> None:
        self.future = future
        self._finish = finish

    @property
    def answer(self) -> Any:
        return self._finish(self.future.result(60).rows)

    @property
    def text(self) -> str:
        text: str = self.answer[0]["generated_text"]
        return text


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_decoder(tmp_path_factory.mktemp("llama"), "Llama", chat=True)


@pytest.fixture(scope="module")
def engine(llama: Path) -> Any:
    return load(llama)


@pytest.fixture
def bench(engine: Any) -> Iterator[Bench]:
    bench = Bench(engine)
    yield bench
    bench.batcher.call(lambda: engine.drop([live.item for live in engine._live.values()])).result(20)


def decoded(folder: Path, ids: list[int]) -> str:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


@pytest.mark.parametrize("kind", DECODERS)
def test_each_kind_writes_what_transformers_writes_alone_and_together(kind: str, tmp_path: Path) -> None:
    """Lfm2 keeps a state that nobody can join; each row is written by itself then, beside the others all the same."""
    folder = make_decoder(tmp_path, kind)
    bench = Bench(load(folder))
    expected = [decoded(folder, reference(folder, prompt, new_tokens=12)) for prompt in PROMPTS]
    together = [bench.send(prompt) for prompt in PROMPTS]

    assert [sent.text for sent in together] == expected
    assert bench.send(PROMPTS[0]).text == expected[0]
    assert [each[0]["generated_text"] for each in bench.send(PROMPTS).answer] == expected


def test_a_request_joins_those_that_are_under_way_and_changes_nothing_for_them(bench: Bench, llama: Path) -> None:
    joined: list[Sent] = []

    def join() -> None:
        if len(joined) < len(PROMPTS) - 1:
            joined.append(bench.send(PROMPTS[len(joined) + 1], max_new_tokens=5 + 7 * len(joined)))

    first = bench.send(PROMPTS[0], max_new_tokens=40, sink=Told(on_part=join))
    expected = decoded(llama, reference(llama, PROMPTS[0], new_tokens=40))

    assert first.text == expected
    assert len(joined) == len(PROMPTS) - 1
    for number, sent in enumerate(joined):
        assert sent.text == decoded(llama, reference(llama, PROMPTS[number + 1], new_tokens=5 + 7 * number))
    assert first.future.result().batch_items > 1


def test_parts_together_are_the_text_and_none_has_half_a_character(bench: Bench) -> None:
    for prompt in PROMPTS:
        told = Told()
        text = bench.send(prompt, max_new_tokens=40, sink=told).text
        assert "".join(told.parts) == text
        assert len(told.parts) > 1


def test_a_text_ends_at_a_stop_string_and_has_none_of_it(bench: Bench) -> None:
    whole = bench.send(PROMPTS[0], max_new_tokens=40).text
    stop, told = whole[9:13], Told()
    answer = bench.send(PROMPTS[0], max_new_tokens=40, stop=["never this", stop], sink=told).answer

    assert answer[0]["generated_text"] == whole[: whole.index(stop)] == "".join(told.parts)
    assert answer[0]["details"]["finish_reason"] == "stop_sequence"


def test_it_ends_where_the_model_ends_it(tmp_path: Path) -> None:
    """The token that comes third is made the end."""
    folder = make_decoder(tmp_path / "one", "Llama")
    third = reference(folder, PROMPTS[0], new_tokens=3)[2]
    bench = Bench(load(make_decoder(tmp_path / "two", "Llama", eos_token_id=[third])))
    details = bench.send(PROMPTS[0]).answer[0]["details"]

    assert details == {"finish_reason": "eos_token", "generated_tokens": 3, "prompt_tokens": details["prompt_tokens"]}


def test_usage_counts_what_was_written(bench: Bench) -> None:
    sent = bench.send(["once", "upon a"], max_new_tokens=6)

    assert [each[0]["details"]["generated_tokens"] for each in sent.answer] == [6, 6]
    assert sent.future.result().tokens_written == 12
    assert sent.future.result().compute_ms > 0


def test_the_same_seed_gives_the_same_text_in_any_company(bench: Bench) -> None:
    asked: dict[str, Any] = {"do_sample": True, "temperature": 1.5, "top_k": 50, "top_p": 0.95, "max_new_tokens": 20}
    alone = bench.send(PROMPTS[1], seed=7, **asked).text
    company = [bench.send(prompt, seed=number, **asked) for number, prompt in enumerate(PROMPTS)]
    again = bench.send(PROMPTS[1], seed=7, **asked)
    other = bench.send(PROMPTS[1], seed=8, **asked)

    assert again.text == alone
    assert other.text != alone
    assert all(sent.text is not None for sent in company)


def test_a_repetition_penalty_is_transformers_own(bench: Bench, llama: Path) -> None:
    expected = reference(llama, PROMPTS[1], new_tokens=12, repetition_penalty=1.8)

    assert bench.send(PROMPTS[1], repetition_penalty=1.8).text == decoded(llama, expected)


def test_a_conversation_goes_through_the_models_template(bench: Bench) -> None:
    chat = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    text = bench.send(chat).text

    assert text == bench.send("<s>system: be brief<s>user: hello<s>assistant:").text


def test_the_prompt_comes_first_if_it_is_asked_for(bench: Bench) -> None:
    assert bench.send("once upon", return_full_text=True).text == "once upon" + bench.send("once upon").text


@pytest.mark.parametrize(
    ("inputs", "parameters", "named"),
    [
        ("", {}, "inputs is empty"),
        ([], {}, "inputs has 0 texts"),
        (7, {}, "inputs must be"),
        ("a\x00", {}, "NUL"),
        ("\ud800", {}, "surrogate"),
        ([{"role": "robot", "content": "x"}], {}, "role must be one of"),
        ([{"role": "user"}], {}, "role and content"),
        ([{"role": "user", "content": 7}], {}, "content is a number"),
        ([{"role": "user", "content": "x"}, {"role": "system", "content": "y"}], {}, "system comes first"),
        ("x " * 100, {}, "tokens"),
        ("x", {"max_new_tokens": 64}, "context is 64"),
        ("x", {"max_new_tokens": 0}, "max_new_tokens"),
        ("x", {"max_new_tokens": True}, "max_new_tokens"),
        ("x", {"max_new_tokens": 1.5}, "max_new_tokens"),
        ("x", {"temperature": 0}, "temperature"),
        ("x", {"temperature": "hot"}, "temperature"),
        ("x", {"temperature": 1e-300}, "temperature must be a number from"),
        ("x", {"repetition_penalty": 1e-300}, "repetition_penalty must be a number from"),
        ("x", {"top_p": 1.5}, "top_p"),
        ("x", {"seed": -1}, "seed"),
        ("x", {"stop": [""]}, "stop"),
        ("x", {"stop": ["x"] * 9}, "stop"),
        ("x", {"stop": {}}, "stop"),
        ("x", {"best_of": 3}, "best_of"),
    ],
)
def test_rubbish_is_refused_by_its_name(bench: Bench, inputs: Any, parameters: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        bench.send(inputs, **parameters)


def test_a_model_without_a_template_says_so(tmp_path: Path) -> None:
    bench = Bench(load(make_decoder(tmp_path, "Llama")))
    with pytest.raises(InputError, match="no chat template"):
        bench.send([{"role": "user", "content": "hello"}])


def test_a_prompt_that_is_too_long_loses_its_beginning_if_it_may(bench: Bench) -> None:
    answer = bench.send("x " * 100, truncate=True).answer

    assert answer[0]["details"]["prompt_tokens"] == 64 - 12
    assert answer[0]["details"]["generated_tokens"] == 12


def test_whoever_has_gone_is_written_no_further(bench: Bench) -> None:
    begun: list[Sent] = []
    first = bench.send(
        PROMPTS[0], max_new_tokens=60, sink=Told(on_part=lambda: begun.pop().future.cancel() if begun else None)
    )
    begun.append(first)
    beside = bench.send(PROMPTS[1], max_new_tokens=20)

    assert beside.text
    assert first.future.cancelled()
    assert bench.batcher.call(lambda: len(bench.engine._live)).result(20) == 0


def test_a_job_whose_time_passes_is_dropped_before_or_while_it_is_written(bench: Bench) -> None:
    with pytest.raises(UnavailableError, match="not run"):
        bench.send(PROMPTS[0], expires_ms=0).future.result(20)


def test_one_that_fails_fails_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model breaks on every batch that has the bad one, from its third token on."""
    from worker.engines.generation.running import Batch

    bad = bench.engine.prepare(wire.WorkBody(model="", inputs="the bad one", parameters={})).items[0].payload.ids
    step = Batch.step

    def breaks(batch: Any, model: Any) -> None:
        if any(row.ids[: len(bad)] == bad and row.written > 2 for row in batch.rows):
            raise RuntimeError("a bad one")
        step(batch, model)

    monkeypatch.setattr(Batch, "step", breaks)
    told = Told()
    good = [bench.send(prompt, sink=told if prompt == PROMPTS[0] else None) for prompt in PROMPTS]
    failed = bench.send("the bad one")
    texts = [sent.text for sent in good]
    with pytest.raises(RuntimeError, match="a bad one"):
        failed.future.result(20)
    monkeypatch.undo()

    assert texts == [bench.send(prompt).text for prompt in PROMPTS]
    assert "".join(told.parts) == texts[0]


def test_out_of_memory_makes_some_wait_and_nobody_fail(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.engines.generation.running import Batch

    step = Batch.step

    def full(batch: Any, model: Any) -> None:
        if len(batch.rows) > 2:
            raise OutOfMemoryError("no")
        step(batch, model)

    expected = [bench.send(prompt).text for prompt in PROMPTS]
    monkeypatch.setattr(Batch, "step", full)
    told = [Told() for _ in PROMPTS]
    together = [bench.send(prompt, sink=sink) for prompt, sink in zip(PROMPTS, told, strict=True)]

    assert [sent.text for sent in together] == expected
    assert ["".join(each.parts) for each in told] == expected


def test_no_more_are_written_together_than_there_is_room_for(engine: Any) -> None:
    bench = Bench(engine, room_max=40)
    sent = [bench.send("once", max_new_tokens=12) for _ in range(6)]

    assert max(each.future.result(60).batch_items for each in sent) <= 3
    assert len({each.text for each in sent}) == 1


def test_one_text_waits_for_no_more_than_its_turn_beside_a_request_of_many(engine: Any) -> None:
    """There is room for one at a time; the small request comes last and must not wait for all of the large one."""
    bench = Bench(engine, room_max=20)
    many = bench.send(["once"] * 12, max_new_tokens=12)
    one = bench.send("once", max_new_tokens=12)
    many_had_ended: list[bool] = []
    one.future.add_done_callback(lambda _: many_had_ended.append(many.future.done()))

    assert many.answer[0][0]["generated_text"] == one.text
    assert many_had_ended == [False]


def test_computed_by_itself_it_is_the_same(engine: Any, llama: Path) -> None:
    """As the engine's other callers have it: no batcher, nobody joins."""
    work = engine.prepare(wire.WorkBody(model="", inputs=PROMPTS, parameters={"max_new_tokens": 6}))
    answers = work.finish(engine.compute(work.items))

    assert answers[2][0]["generated_text"] == decoded(llama, reference(llama, PROMPTS[2], new_tokens=6))
