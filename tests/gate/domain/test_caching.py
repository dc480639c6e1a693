"""Answers that are given again: the names, and the whole way of a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.domain.caching import names_of
from gate.domain.request import InferRequest
from gate.endpoints.answers import answer_json
from gate.errors import JobFailedError
from gate.ports import Credentials
from gate.provider import ProviderState
from tests.gate.doubles import WatchedLedger, completed, failed, fill
from tests.gate.world import DAY, World
from tests.makers import NOON, make_config, make_documents

BOB = Credentials(bearer="bob")
DIGEST = "5" * 64


def texts(request: InferRequest, *, seconds: int | None, after: float = 0, digest: str = DIGEST) -> list[str]:
    now = NOON + timedelta(seconds=after)
    names = names_of(request, digest, cache_seconds=seconds, now=now, random=lambda: "random")
    return [name.text for name in names]


def test_without_a_cache_and_a_key_every_request_is_another() -> None:
    """A cache that the owner did not ask for could give an answer that was true yesterday."""
    assert texts(InferRequest(inputs="a"), seconds=None) == ["0:random"]


def test_a_callers_own_key_goes_before_the_cache() -> None:
    """Who says which requests are one, means it: a new key is a new job."""
    assert texts(InferRequest(inputs="a", idempotency_key="k"), seconds=60)[0] == "0:k"


@given(st.integers(1, 2_592_000), st.floats(0, 10**7), st.floats(0, 10**7), st.text("0123456789abcdef", min_size=64))
def test_two_times_of_one_window_are_less_than_its_length_apart(
    seconds: int, first: float, second: float, digest: str
) -> None:
    """An answer is never given again when it is older than the owner allows."""
    request = InferRequest(inputs="a")
    same = texts(request, seconds=seconds, after=first, digest=digest) == texts(
        request, seconds=seconds, after=second, digest=digest
    )

    assert not same or abs(first - second) < seconds
    assert same or abs(first - second) > 0


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A gate whose model's answers are given again for an hour."""
    ledger = WatchedLedger(str(tmp_path / "ledger.sqlite3"))
    await fill(ledger, make_documents(config=make_config(cache_seconds={"all-minilm-l6-v2": 3600})))
    yield World(ledger)
    await ledger.close()


async def test_an_equal_request_is_answered_from_the_cache_and_costs_nothing(world: World) -> None:
    first = await world.infer()
    second = await world.infer()

    assert (first.cached, second.cached) == (False, True)
    assert second.outputs == first.outputs
    assert len(world.provider.orders) == 1
    assert await world.counter(*DAY, "requests") == 1
    assert await world.counter(*DAY, "microdollars") == first.job.settled_microdollars
    told = answer_json(second)
    assert told["cached"] is True
    assert set(told["usage"].values()) == {0}


@pytest.mark.parametrize(
    "other",
    [
        {"inputs": "another text"},
        {"parameters": {"normalize": False}},
        {"credentials": BOB},
        {"idempotency_key": "k"},
    ],
    ids=["inputs", "parameters", "caller", "key"],
)
async def test_what_differs_in_anything_is_asked_for(world: World, other: dict[str, Any]) -> None:
    """Another caller's answer above all: an answer may tell what was asked."""
    await world.infer()
    answer = await world.infer(**other)

    assert not answer.cached
    assert len(world.provider.orders) == 2


async def test_an_answer_that_is_too_old_is_asked_for_anew(world: World) -> None:
    await world.infer()
    world.clock.advance(hours=1)
    answer = await world.infer()

    assert not answer.cached
    assert len(world.provider.orders) == 2


async def test_equal_requests_in_flight_are_one_job(world: World) -> None:
    world.provider.let_go.clear()
    asking = [asyncio.ensure_future(world.infer()) for _ in range(50)]
    await world.provider.handed_over.wait()
    world.provider.let_go.set()

    answers = await asyncio.gather(*asking)

    assert len(world.provider.orders) == 1
    assert sum(answer.cached for answer in answers) == 49
    assert await world.counter(*DAY, "requests") == 1


async def test_an_error_is_not_given_again(world: World) -> None:
    """A worker that fell over once would otherwise be down for an hour."""
    world.script(failed(failure_code=JobFailedError.code), completed(), completed(outputs=[[9.0]]))
    with pytest.raises(JobFailedError):
        await world.infer()

    second = await world.infer()
    third = await world.infer()

    assert (second.cached, third.cached) == (False, True)
    assert third.outputs == second.outputs
    assert len(world.provider.orders) == 2


async def test_errors_upon_errors_end_in_a_request_of_its_own(world: World) -> None:
    """However often it failed, asking again asks again."""
    world.script(*[failed(failure_code=JobFailedError.code)] * 4, completed(state=ProviderState.COMPLETED))
    for _ in range(4):
        with pytest.raises(JobFailedError):
            await world.infer()

    answer = await world.infer()

    assert not answer.cached
    assert len(world.provider.orders) == 5


async def test_a_model_without_a_cache_is_asked_each_time(world: World) -> None:
    """Off by default, and per model."""
    await fill(world.ledger, make_documents(config=make_config(cache_seconds={"another-model": 3600})))
    world.clock.advance(minutes=1)

    answers = [await world.infer() for _ in range(2)]

    assert [answer.cached for answer in answers] == [False, False]
    assert len(world.provider.orders) == 2
