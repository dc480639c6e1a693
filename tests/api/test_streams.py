"""A stream of the HTTP routes: what it tells, and what happens when its reader goes away."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from gate.endpoints.api import app
from gate.errors import ProviderTimeoutError
from gate.provider import Part
from gate.providers.scripted import Act
from tests.api.world import MODEL, TEXT, ApiWorld, generation_details, listening

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "stream": True}
ROWS = [{"generated_text": TEXT, "details": generation_details("eos_token")}]
BEARER = {"authorization": "Bearer alice"}


def events_of(text: str) -> list[Any]:
    """Return what each event's line holds."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def test_a_stream_ends_with_its_reason_and_done(world: ApiWorld) -> None:
    """Without parts too: then the text comes in one piece."""
    world.scripted.otherwise = Act(outputs=ROWS)

    answer = await world.http.post("/v1/chat/completions", json=CHAT)

    *chunks, done = events_of(answer.text)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": TEXT},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert done == "[DONE]"


async def test_a_job_that_fails_on_its_way_tells_so_in_its_stream(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status was sent long before; no [DONE] follows that would make it look whole."""
    monkeypatch.setattr(app, "_FIRST_EVENT_SECONDS", 0.01)
    world.scripted.otherwise = Act(error=ProviderTimeoutError("late"), delay_seconds=0.1)

    answer = await world.http.post("/v1/chat/completions", json=CHAT)

    assert answer.status_code == 200
    assert [event["error"]["code"] for event in events_of(answer.text)] == ["timeout"]


@pytest.mark.parametrize("after", ["the-first-piece", "nothing"])
async def test_who_leaves_stops_the_job_and_pays_what_it_used(world: ApiWorld, after: str) -> None:
    """The provider is told, the hold is settled once, and nothing stays in flight."""
    parts = (Part(text="Once"),) * 50 if after == "the-first-piece" else ()
    world.scripted.otherwise = Act(outputs=ROWS, parts=parts, delay_seconds=60 if not parts else 5)

    async with listening(world) as url, httpx.AsyncClient(base_url=url, headers=BEARER) as client:
        if after == "nothing":
            with pytest.raises(httpx.ReadTimeout):
                await client.post("/v1/chat/completions", json=CHAT, timeout=0.3)
        else:
            async with client.stream("POST", "/v1/chat/completions", json=CHAT) as answer:
                async for line in answer.aiter_lines():
                    if "Once" in line:
                        break
        async with asyncio.timeout(5):
            while not world.ledger.settlements:  # noqa: ASYNC110 - it is made by what is tested
                await asyncio.sleep(0.02)

    assert len(world.scripted.cancelled) == 1
    assert len(world.ledger.settlements) == 1
    counters = await world.ledger.counters("usage/alice")
    assert counters["in_flight",] == 0


async def test_a_key_that_was_answered_is_streamed_again_for_nothing(world: ApiWorld) -> None:
    headers = {"idempotency-key": "one"}
    texts = []
    for _ in range(2):
        answer = await world.http.post("/v1/completions", headers=headers, json=COMPLETION)
        texts.append("".join(event["choices"][0]["text"] for event in events_of(answer.text)[:-1]))

    assert texts == [TEXT, TEXT]
    assert await world.requests() == 1


COMPLETION = {"model": MODEL, "prompt": "Well", "stream": True}
