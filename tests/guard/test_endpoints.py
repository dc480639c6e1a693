"""The watching endpoints of `main.py`, served as functions-framework serves them when they are deployed."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import functions_framework.aio
import httpx
import pytest
from starlette.testclient import TestClient

from gate import bootstrap, watchroom
from gate.ledgers.sqlite import SqliteLedger
from tests.emulators import fresh_project, pubsub_emulator
from tests.gate.doubles import fill
from tests.guard.test_google_budget import BUDGET
from tests.guard.test_watchdog import ENV
from tests.makers import make_documents

MAIN = Path(__file__).parents[2] / "functions" / "main.py"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The environment of a function, with a ledger that has a configuration."""
    path = str(tmp_path / "ledger.sqlite3")
    for name, value in {**ENV, "SQLITE_PATH": path}.items():
        monkeypatch.setenv(name, value)
    asyncio.run(_fill(path))
    forget_hop1()
    watchroom.watchroom.cache_clear()
    yield path
    forget_hop1()
    watchroom.watchroom.cache_clear()


def forget_hop1() -> None:
    bootstrap.hop1.cache_clear()
    bootstrap._parts.cache_clear()


async def _fill(path: str) -> None:
    store = SqliteLedger(path)
    await fill(store, make_documents())
    await store.close()


def alerts(path: str) -> dict[str, dict[str, Any]]:
    async def read() -> dict[str, dict[str, Any]]:
        store = SqliteLedger(path)
        found = await store.collection("alerts")
        await store.close()
        return found

    return asyncio.run(read())


def serve(target: str, signature: str) -> TestClient:
    return TestClient(functions_framework.aio.create_asgi_app(target, str(MAIN), signature))


def published(data: bytes) -> dict[str, Any]:
    return {"message": {"data": base64.b64encode(data).decode(), "messageId": "1"}, "subscription": "s"}


EVENT_HEADERS = {
    "ce-id": "1",
    "ce-source": "//pubsub.googleapis.com/projects/p/topics/twohop-budget",
    "ce-specversion": "1.0",
    "ce-type": "google.cloud.pubsub.topic.v1.messagePublished",
    "content-type": "application/json",
}


def test_the_schedule_sweeps_and_looks(ledger: str) -> None:
    with serve("sweep", "http") as client:
        assert client.post("/").json() == {"swept": 0, "told": 0}


def test_the_ladder_looks_after_what_is_due_each_minute(ledger: str) -> None:
    with serve("ladder", "http") as client:
        assert client.post("/").json() == {"kill_level": 0, "swept": 0}


def test_a_provider_without_a_bill_has_nothing_to_reconcile(ledger: str) -> None:
    with serve("reconcile", "http") as client:
        assert client.post("/").json() == {"drift_percent": None}


def test_googles_budget_message_becomes_an_alert(ledger: str) -> None:
    event = published(json.dumps({**BUDGET, "alertThresholdExceeded": 0.9}).encode())
    with serve("budget", "cloudevent") as client:
        for _ in range(2):
            assert client.post("/", headers=EVENT_HEADERS, json=event).status_code == 200

    found = alerts(ledger)["google_budget_2026-11"]
    assert (found["state"], found["number"]) == ("warned", 1)


@pytest.mark.emulator
def test_a_budget_message_through_googles_own_emulator_becomes_an_alert(ledger: str) -> None:
    """As Cloud Billing publishes it and Eventarc hands it over, twice, because Pub/Sub delivers at least once."""
    project = f"http://{pubsub_emulator()}/v1/projects/{fresh_project()}"
    topic, subscription = f"{project}/topics/twohop-budget", f"{project}/subscriptions/budget"
    data = base64.b64encode(json.dumps({**BUDGET, "alertThresholdExceeded": 1.0}).encode()).decode()
    attributes = {"billingAccountId": "01D4EE-079462-DFD6EC", "budgetId": "b-1", "schemaVersion": "1.0"}
    with httpx.Client(timeout=30) as http:
        http.put(topic, json={}).raise_for_status()
        http.put(subscription, json={"topic": topic.partition("/v1/")[2]}).raise_for_status()
        http.post(
            f"{topic}:publish", json={"messages": [{"data": data, "attributes": attributes}]}
        ).raise_for_status()
        pulled = http.post(f"{subscription}:pull", json={"maxMessages": 1}).raise_for_status().json()
    [received] = pulled["receivedMessages"]

    with serve("budget", "cloudevent") as client:
        for _ in range(2):
            event = {"message": received["message"], "subscription": subscription}
            assert client.post("/", headers=EVENT_HEADERS, json=event).status_code == 200

    found = alerts(ledger)["google_budget_2026-11"]
    assert (found["state"], found["number"]) == ("critical", 1)


def test_a_message_that_is_none_of_a_budget_is_not_delivered_for_ever(
    ledger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pub/Sub sends again whatever is answered with an error."""
    with serve("budget", "cloudevent") as client:
        assert client.post("/", headers=EVENT_HEADERS, json=published(b"hello")).status_code == 200

    assert alerts(ledger) == {}
    assert "budget.not_understood" in capsys.readouterr().out
