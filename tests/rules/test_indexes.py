"""The indexes that are deployed are the ones the ledger's queries need; the emulator answers without any."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gate.domain.api_token import TokenSigner
from gate.domain.job import HandOver
from gate.domain.plan import Cohort
from gate.ledgers.firestore import FirestoreLedger
from gate.log import EventLog
from gate.ports import Caller
from gate.steps.policy import Policies
from gate.tokens import Tokens
from tests.contract.ledger_contract import LATER, held, settlement
from tests.contract.watched import Sent, Watched
from tests.emulators import firestore_emulator, fresh_project
from tests.makers import FakeClock, make_documents

pytestmark = pytest.mark.emulator

INDEXES: dict[str, Any] = json.loads((Path(__file__).parents[2] / "firestore.indexes.json").read_text("utf-8"))

Queries = list[tuple[str, list[tuple[str, str]]]]
"""Each query's collection, and the index fields that it needs."""


@pytest.fixture
def queries() -> Queries:
    return []


@pytest.fixture
async def ledger(queries: Queries, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FirestoreLedger]:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())

    def record(sent: Sent) -> None:
        if sent.url.endswith(":runQuery"):
            queries.append(_needs(json.loads(sent.body)["structuredQuery"]))

    ledger = FirestoreLedger(fresh_project(), exchanges=Watched(record))
    yield ledger
    await ledger.close()


async def test_every_query_over_two_fields_has_its_index(ledger: FirestoreLedger, queries: Queries) -> None:
    """Without it, Firestore refuses the query, and the sweeper would find nothing to sweep."""
    await ledger.jobs(caller="alice")
    await ledger.jobs()
    await ledger.expired(now=LATER)
    await ledger.accounts("usage/")
    await ledger.collection("plans")
    await ledger.find("tokens", "owner", "alice")

    composite = [(collection, fields) for collection, fields in queries if len(fields) > 1]
    deployed = [
        (index["collectionGroup"], [(field["fieldPath"], field["order"]) for field in index["fields"]])
        for index in INDEXES["indexes"]
    ]
    assert len(queries) == 6
    assert sorted(composite) == sorted(deployed)


async def test_exempt_fields_exist_and_no_query_uses_them(ledger: FirestoreLedger, queries: Queries) -> None:
    """An exemption of a misspelt field exempts nothing; one of a queried field breaks the query."""
    job = await held(ledger)
    job = await ledger.hand_over(job, HandOver(provider_job_id="remote", due_at=LATER, look_at=LATER, awaited_ms=1))
    kept = {"result": "[]", "result_url": "https://example.com/result", "result_url_expires_at": LATER}
    await ledger.settle(job, settlement(**kept, failure="none"), at=LATER)
    await ledger.jobs(caller="alice")
    await ledger.expired(now=LATER)
    used_token, revoked_token = await _tokens_in(ledger)

    there = {
        "jobs": f"jobs/{job.job_id}",
        "usage": "usage/alice",
        "budget": "budget/0",
        "tokens": f"tokens/{used_token}",
        "revoked_tokens": f"revoked_tokens/{revoked_token}",
    }
    exempt = {(override["collectionGroup"], override["fieldPath"]) for override in INDEXES["fieldOverrides"]}
    fields = {(name, field) for name, path in there.items() for field in await ledger.read(path) or {}}
    used = {(collection, field) for collection, needed in queries for field, _ in needed}
    assert exempt <= fields
    assert not exempt & used


async def _tokens_in(ledger: FirestoreLedger) -> tuple[str, str]:
    """Make a token that was used, and one that was revoked."""
    clock, alice = FakeClock(), Caller(uid="alice", cohort=Cohort.VERIFIED)
    for path, document in make_documents().items():
        await ledger.write(path, document)
    policies = Policies(documents=ledger, notifier=EventLog(), clock=clock, fresh_seconds=0)
    signer = TokenSigner(project="demo-project", secrets=[b"s" * 32])
    tokens = Tokens(policies=policies, documents=ledger, signer=signer, clock=clock)
    _, used = await tokens.create(alice, label="used", lifetime="day")
    _, revoked = await tokens.create(alice, label="revoked", lifetime="day")
    await tokens.use(replace(alice, token_id=used.token_id))
    await tokens.revoke(alice, revoked.token_id)
    return used.token_id, revoked.token_id


def test_what_dies_does_so_by_its_ttl_field() -> None:
    """Else results, which are what callers sent through a model, would be kept for ever."""
    lasting = [one for one in INDEXES["fieldOverrides"] if one.get("ttl")]

    assert [(one["collectionGroup"], one["fieldPath"]) for one in lasting] == [
        ("jobs", "ttl"),
        ("tokens", "ttl"),
        ("revoked_tokens", "ttl"),
    ]


def _needs(query: Any) -> tuple[str, list[tuple[str, str]]]:
    """Fields that are compared come first, then the order; a name's order is part of every index."""
    orders = [(one["field"]["fieldPath"], one["direction"]) for one in query["orderBy"]]
    ordered = [(field, direction) for field, direction in orders if field != "__name__"]
    names = {field for field, _ in ordered}
    filters = query.get("where", {}).get("compositeFilter", {}).get("filters", ())
    fields = [one["fieldFilter"]["field"]["fieldPath"] for one in filters]
    compared = [(field, "ASCENDING") for field in fields if field not in names]
    return query["from"][0]["collectionId"], [*compared, *ordered]
