"""The Firebase JS SDK in headless Chromium, on a page of another origin, against `make dev`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser import page_with, saw
from tests.dev.killing import until
from tests.dev.test_streams import LONG, SHORT, model, running, the_job

__all__ = ["model"]

pytestmark = pytest.mark.model

_SCRIPT = Path(__file__).parents[1] / "js" / "in_page.mjs"


def test_a_page_streams_leaves_and_submits(tmp_path: Path, model: str) -> None:
    """CORS, `fetch` and aborts are a browser's own; Node's are not the same."""
    with running(tmp_path, model) as dev:
        page = page_with(_SCRIPT.read_text("utf-8"), project="demo-twohop", port=dev.port, short=SHORT, long=LONG)
        told: dict[str, Any] = saw(page)
        assert "broken" not in told, told
        left_is_settled = until(lambda: the_job(dev).state.final)

    texts = [chunk["text"] for chunk in told["chunks"]]
    assert told["refusal"] == "functions/unauthenticated"
    assert len(texts) > 1
    assert "".join(texts) == told["answer"]["outputs"][0]["generated_text"]
    assert told["heard"] >= 2
    assert left_is_settled
    assert told["submitted"] == "running"
    assert told["asked"]["state"] == "settled"
    assert told["asked"]["outputs"][0]["generated_text"]
