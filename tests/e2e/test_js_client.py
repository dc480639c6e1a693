"""twohop-client on the whole Firebase suite: it listens to a job's document under the security rules."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from infra.suite import HOST, PROJECT, REGION, Suite
from tests.client import published
from tests.e2e.suite import Client

pytestmark = [pytest.mark.suite, pytest.mark.model]


def ask(client: Client, deed: str, **what: Any) -> Any:
    return client.ask({"do": deed, **what})


def test_a_submitted_job_is_listened_to_until_its_end(suite: Suite, tmp_path: Path) -> None:
    """Its document tells; no function is asked meanwhile."""
    where = {"project": PROJECT, "region": REGION, "host": HOST, "ports": asdict(suite.ports), "listens": True}
    with published.app(published.install(tmp_path), where) as app:
        job = ask(app, "submit", inputs="Hello, world")
        states = ask(app, "watch", jobId=job["job_id"])
        result = ask(app, "result", jobId=job["job_id"])
        asked = ask(app, "job", jobId=job["job_id"])

    assert states[-1] == "settled"
    assert len(result["outputs"]) == 384
    assert result["usage"]["settled_microdollars"] == asked["usage"]["settled_microdollars"]
    assert result["outputs"] == asked["outputs"]
