"""The JavaScript client on a page, in real Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium, page_with, saw
from tests.client import published
from tests.dev.running import Dev

pytestmark = pytest.mark.model

_SCRIPT = Path(__file__).parents[1] / "js" / "client_in_page.mjs"


def test_a_page_infers_streams_submits_watches_cancels_and_gets_typed_errors(dev: Dev, tmp_path: Path) -> None:
    """As npm has it, over an import map; no bundler is needed."""
    chromium()
    modules = published.install(tmp_path) / "node_modules"
    options = {
        name: {"parameters": {"max_new_tokens": count}} for name, count in {"short": 20, "long": 8_000}.items()
    }
    page = page_with(_SCRIPT.read_text("utf-8"), project="demo-twohop", port=dev.port, **options)

    told: dict[str, Any] = saw(page, modules=modules, seconds_max=90)

    assert "broken" not in told, told
    text = told["answer"]["outputs"][0]["generated_text"]
    assert text == told["streamed"]["outputs"][0]["generated_text"] == told["result"]["outputs"][0]["generated_text"]
    assert "".join(part["text"] for part in told["parts"]) == text
    assert len(told["parts"]) > 1
    assert told["states"][-1] == "settled"
    assert told["cancelled"]["error"]["status"] == "CANCELLED"
    assert told["refusal"] == {"code": "unauthenticated", "limit": None, "retryable": False, "is": True}
    assert told["invalid"] == {"code": "invalid-argument", "limit": None, "retryable": False, "is": True}
