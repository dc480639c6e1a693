"""The JavaScript client in a plugin's service worker, in real Chromium, which ends it in the middle of a call."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.browser import chromium
from tests.client import plugin, published
from tests.dev.killing import counters, jobs, total, until
from tests.dev.running import dev_running

pytestmark = pytest.mark.model


def test_a_service_worker_that_is_ended_goes_on_with_its_request(tmp_path: Path, model: str) -> None:
    """Manifest V3 ends it whenever it likes; the job runs on, and is joined by the same key and counted once."""
    chromium()
    folder = tmp_path / "plugin"
    origin = f"chrome-extension://{plugin.plugin_id(folder)}"
    client = published.install(tmp_path) / "node_modules" / "twohop-client"
    settings = {"MODEL": model, "EXECUTION_SECONDS_MAX": "100", "ALLOWED_ORIGINS": origin}
    with dev_running(tmp_path / "dev", **settings) as dev, plugin.listening() as (saw, came):
        long_enough = {"parameters": {"max_new_tokens": 1_500}}
        plugin.put_together(folder, client, port=dev.port, ask="once upon", options=long_enough, saw=saw)
        with plugin.opened(folder, tmp_path / "profile") as browser:
            browser.opens_its_page()
            assert until(lambda: bool(asyncio.run(jobs(dev.folder)))), "the service worker did not ask"
            assert browser.ends_its_worker()
            told = came.get(timeout=90)
        [job] = asyncio.run(jobs(dev.folder))
        counted = asyncio.run(counters(dev.folder, job.caller))

    assert told.get("error") is None
    assert told["answer"]["outputs"][0]["generated_text"]
    assert told["answer"]["job_id"] == job.job_id
    assert told["answer"]["repeated"] is True
    assert told["starts"] == 2
    assert (total(counted, "requests"), counted["in_flight",]) == (1, 0)
    assert total(counted, "microdollars") == job.settled_microdollars
