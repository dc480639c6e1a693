"""A stream is in order, complete, and as fast as the model however slow the link is."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.worker.queue.makers import ScriptedPoster
from worker.queue.results.stream import post_stream


async def tokens(count: int, *, seconds: float = 0) -> AsyncIterator[str]:
    for number in range(count):
        await asyncio.sleep(seconds)
        yield f"{number} "


def posted(poster: ScriptedPoster) -> list[Any]:
    return [json.loads(body)["output"] for body in poster.bodies]


async def test_what_comes_while_a_post_is_under_way_goes_with_the_next() -> None:
    poster = ScriptedPoster(seconds=0.03)
    began = time.monotonic()
    seen = await post_stream(tokens(50, seconds=0.002), poster=poster, job_id="1")
    tokens_per_second = 50 / (time.monotonic() - began)

    assert "".join(posted(poster)) == "".join(seen) == "".join([f"{number} " for number in range(50)])
    assert len(poster.bodies) < 12
    assert tokens_per_second > 50 / (50 * 0.03) * 3, "three times what a post for each would bring, on any machine"


async def test_the_first_token_does_not_wait_for_company() -> None:
    poster = ScriptedPoster()
    await post_stream(tokens(3, seconds=0.01), poster=poster, job_id="1")

    assert posted(poster) == ["0 ", "1 ", "2 "]


async def test_a_part_that_is_refused_goes_again_with_what_came_after() -> None:
    poster = ScriptedPoster(refusals=2)
    await post_stream(tokens(20, seconds=0.01), poster=poster, job_id="1")

    assert "".join(posted(poster)) == "".join([f"{number} " for number in range(20)])


async def test_a_queue_that_takes_no_parts_holds_up_no_result() -> None:
    """The result has everything."""
    poster = ScriptedPoster(refusals=1_000)
    seen = await asyncio.wait_for(post_stream(tokens(5), poster=poster, job_id="1"), 20)

    assert len(seen) == 5
    assert poster.bodies == []


async def test_parts_that_are_no_text_are_listed() -> None:
    async def parts() -> AsyncIterator[dict[str, int]]:
        for number in range(3):
            yield {"n": number}

    poster = ScriptedPoster(seconds=0.01)
    await post_stream(parts(), poster=poster, job_id="1")

    assert posted(poster) in ([{"n": 0}, [{"n": 1}, {"n": 2}]], [[{"n": 0}, {"n": 1}, {"n": 2}]])


async def test_a_model_that_fails_in_the_middle_fails_here() -> None:
    async def failing() -> AsyncIterator[str]:
        yield "a"
        raise RuntimeError("the model")

    with pytest.raises(RuntimeError, match="the model"):
        await post_stream(failing(), poster=ScriptedPoster(), job_id="1")


async def test_a_model_that_runs_far_ahead_is_held_back() -> None:
    """A queue that is slow must not fill this worker's memory."""
    poster = ScriptedPoster(seconds=0.05)
    ahead = 0

    async def flood() -> AsyncIterator[str]:
        nonlocal ahead
        for number in range(40_000):
            ahead = max(ahead, number - sum(len(text) for text in posted(poster)) if number % 5_000 == 0 else 0)
            yield "x"

    await asyncio.wait_for(post_stream(flood(), poster=poster, job_id="1"), 20)

    assert sum(len(text) for text in posted(poster)) == 40_000
    assert ahead <= 20_000
