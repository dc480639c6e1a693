"""The official `openai` package for JS on a page: a browser shows it only the headers that it is allowed to read."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gate.errors import ProviderTimeoutError
from gate.providers.scripted import Act
from tests.api.world import MODEL, api_world, listening
from tests.browser import chromium, page_with, saw

_SCRIPT = Path(__file__).parents[1] / "js" / "openai_in_page.mjs"


async def test_a_page_that_was_told_not_to_try_again_does_not(tmp_path: Path) -> None:
    """The request has no key, so that each try would be a job of its own, and be paid."""
    chromium()
    async with api_world(tmp_path, allow_loopback=True) as world, listening(world) as url:
        world.scripted.otherwise = Act(error=ProviderTimeoutError("late"))
        config = {"baseURL": f"{url}/v1", "apiKey": await world.token(), "model": MODEL}

        told = await asyncio.to_thread(saw, page_with(_SCRIPT.read_text("utf-8"), **config))

    assert told == {"status": 504, "job": None, "retry": "false"}
    assert len(world.scripted.orders) == 1
