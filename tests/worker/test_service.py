"""A job is answered with outputs or with a failure, and with what it took; the worker lives on either way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gate import wire
from tests.worker.makers import NOON_MS, Bench, make_request
from worker.engine import Item, Work
from worker.errors import ModelError, TooLargeError


class PanicException(BaseException):
    """As the bindings of a library in Rust raise it."""


ESCAPING = [
    pytest.param(SystemExit(3), id="exit"),
    pytest.param(PanicException("index out of bounds"), id="panic"),
    pytest.param(StopIteration(), id="stop"),
]


def test_the_start_is_told_with_the_first_job_and_never_again() -> None:
    """The gate charges it once."""
    bench = Bench()
    usages = [bench.run(make_request(now_ms=bench.clock.now_ms())).usage for _ in range(3)]

    assert [usage.start_ms for usage in usages if usage] == [1_234, 0, 0]


def test_a_first_job_that_fails_tells_the_start_too() -> None:
    """It ran, so it is what the provider bills the start to."""
    result = (bench := Bench()).run(make_request({"no": "text"}, body=b"[]", now_ms=bench.clock.now_ms()))

    assert result.failure is not None
    assert result.usage is not None
    assert result.usage.start_ms == 1_234


def test_each_phase_of_the_start_is_logged() -> None:
    phases = [event["phase"] for event in Bench().events if event["message"] == "worker.phase"]

    assert phases == ["boot", "find", "import", "load", "warm-up"]


def test_an_answer_tells_its_tokens_and_at_least_one_millisecond() -> None:
    """A job of no time at all would be free."""
    result = Bench().run(make_request("hello"))

    assert result.outputs == "hello"
    assert result.usage is not None
    assert (result.usage.execution_ms, result.usage.tokens) == (1, 7)


def test_a_job_whose_time_passes_while_it_waits_is_dropped_unrun() -> None:
    """Nobody waits for it any more, so no GPU time goes to it, and its start is told by the next."""
    bench, request = Bench(), make_request(valid_ms=10_000)
    bench.service.admit(request)
    bench.clock.ms = 10_000
    result = asyncio.run(bench.service.answer(request))

    assert result.failure is not None
    assert (result.failure.code, result.usage) == ("unavailable", None)
    assert bench.engine.ran == []
    later = bench.run(make_request(now_ms=NOON_MS + 10_000)).usage
    assert later is not None
    assert later.start_ms == 1_234


def test_a_crash_is_internal_and_says_nothing_more() -> None:
    """Its details are for the log; the next job is answered."""
    bench = Bench()
    result = bench.run(make_request("crash", job_id="job-x"))

    assert result.failure == wire.WorkFailure(code="internal", message="the worker failed on this job")
    crashed = next(event for event in bench.events if event["message"] == "job.crashed")
    assert "/a/path with details" in crashed["traceback"]
    assert crashed["job_id"] == "job-x"
    assert bench.run(make_request("next")).outputs == "next"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"[1]", id="no object"),
        pytest.param(b'{"model":"tiny","inputs":"a"}', id="no parameters"),
        pytest.param(b"[" * 200_000, id="too deep"),
        pytest.param(b'{"model":"tiny","parameters":{"k":' + b"9" * 5_000 + b"}}", id="a huge number"),
        pytest.param(b'{"model":"other","inputs":"a","parameters":{}}', id="another model"),
        pytest.param(b'{"model":"\\ud800\\n","inputs":"a","parameters":{}}', id="a model that cannot be printed"),
    ],
)
def test_a_body_that_is_no_job_is_an_invalid_argument(body: bytes) -> None:
    bench = Bench()
    result = bench.run(make_request(body=body))

    assert result.failure is not None
    assert result.failure.code == "invalid-argument"
    assert result.failure.message.isprintable()
    assert bench.engine.ran == []


def test_a_model_is_named_in_any_case() -> None:
    assert Bench().run(make_request("hello", model="TINY")).failure is None


def test_a_body_over_the_limit_is_refused() -> None:
    with pytest.raises(TooLargeError, match="100 bytes"):
        Bench(body_bytes_max=100).service.admit(make_request("a" * 200))


def test_no_text_and_no_answer_is_logged() -> None:
    bench = Bench()
    bench.run(make_request("a private text"))

    assert "private" not in bench.stream.getvalue()


def test_a_start_that_fails_is_logged_with_its_reason() -> None:
    def fail() -> Bench:
        raise ModelError("MODEL=x: there is no such folder")

    bench = Bench(loaded=False)
    with pytest.raises(ModelError):
        bench.service.load(lambda: fail().engine, began_ms=0).result(20)

    assert "no such folder" in bench.events[-1]["reason"]


@pytest.mark.parametrize("raised", ESCAPING)
@pytest.mark.parametrize("step", ["prepare", "compute", "finish"])
def test_what_ends_a_thread_fails_its_own_job_and_the_next_is_answered(step: str, raised: BaseException) -> None:
    """A worker whose thread is gone would leave every later job waiting for ever, and be billed for it."""
    bench = Bench()
    _raise_over(bench, step, raised)
    failed, answered = (bench.run(make_request(inputs)) for inputs in ("die", "hello"))

    assert failed.failure == wire.WorkFailure(code="internal", message="the worker failed on this job")
    assert answered.outputs == "hello"
    assert type(raised).__name__ in bench.stream.getvalue()


def _raise_over(bench: Bench, step: str, raised: BaseException) -> None:
    """Have a step of the engine raise something over the job that says `die`."""
    prepare, compute = bench.engine.prepare, bench.engine.compute

    def check(here: str, inputs: Any) -> None:
        if step == here and inputs == "die":
            raise raised

    def prepare_or_die(body: wire.WorkBody) -> Work:
        check("prepare", body.inputs)
        return Work(items=prepare(body).items, finish=finish_or_die)

    def finish_or_die(rows: Sequence[Any]) -> Any:
        check("finish", rows[0])
        return rows[0]

    def compute_or_die(items: Sequence[Item]) -> Sequence[Any]:
        for item in items:
            check("compute", item.payload)
        return compute(items)

    bench.engine.prepare = prepare_or_die  # type: ignore[method-assign]
    bench.engine.compute = compute_or_die  # type: ignore[method-assign]


@pytest.mark.parametrize("raised", ESCAPING)
def test_a_start_that_is_ended_from_within_fails_and_says_so(raised: BaseException) -> None:
    """It would stay at starting for ever, and its host would wait."""
    bench = Bench(loaded=False)

    def die() -> Any:
        raise raised

    with pytest.raises(Exception, match=type(raised).__name__):
        bench.service.load(die, began_ms=0).result(20)
    assert bench.events[-1]["message"] == "worker.start_failed"
