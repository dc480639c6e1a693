"""The indexes that are deployed are the ones the ledger's queries need; the emulator answers without any."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from gate.ledgers.firestore import FirestoreLedger
from tests.contract.ledger_contract import LATER, held, settlement
from tests.emulators import firestore_emulator, fresh_project

pytestmark = pytest.mark.emulator

INDEXES: dict[str, Any] = json.loads((Path(__file__).parents[2] / "firestore.indexes.json").read_text("utf-8"))
DIRECTIONS = {1: "ASCENDING", 2: "DESCENDING"}

Queries = list[tuple[str, list[tuple[str, str]]]]
"""Each query's collection, and the index fields that it needs."""


@pytest.fixture
def queries() -> Queries:
    return []


@pytest.fixture
async def ledger(queries: Queries, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FirestoreLedger]:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())
    client = AsyncClient(fresh_project())
    run_query = client._firestore_api.run_query

    def recorded(*, request: dict[str, Any], **kwargs: Any) -> Any:
        queries.append(_needs(request["structured_query"]))
        return run_query(request=request, **kwargs)

    monkeypatch.setattr(client._firestore_api, "run_query", recorded)
    ledger = FirestoreLedger(client=client)
    yield ledger
    await ledger.close()


async def test_every_query_over_two_fields_has_its_index(ledger: FirestoreLedger, queries: Queries) -> None:
    """Without it, Firestore refuses the query, and the sweeper would find nothing to sweep."""
    await ledger.jobs(caller="alice")
    await ledger.jobs()
    await ledger.expired(now=LATER)
    await ledger.accounts("usage/")
    await ledger.collection("plans")

    composite = [(collection, fields) for collection, fields in queries if len(fields) > 1]
    deployed = [
        (index["collectionGroup"], [(field["fieldPath"], field["order"]) for field in index["fields"]])
        for index in INDEXES["indexes"]
    ]
    assert len(queries) == 5
    assert sorted(composite) == sorted(deployed)


async def test_exempt_fields_exist_and_no_query_uses_them(ledger: FirestoreLedger, queries: Queries) -> None:
    """An exemption of a misspelt field exempts nothing; one of a queried field breaks the query."""
    job = await held(ledger)
    await ledger.settle(job, settlement(result="[]", failure="none"), at=LATER)
    await ledger.jobs(caller="alice")
    await ledger.expired(now=LATER)

    there = {"jobs": f"jobs/{job.job_id}", "usage": "usage/alice", "budget": "budget/0"}
    exempt = {(override["collectionGroup"], override["fieldPath"]) for override in INDEXES["fieldOverrides"]}
    fields = {(name, field) for name, path in there.items() for field in await ledger.read(path) or {}}
    used = {(collection, field) for collection, needed in queries for field, _ in needed}
    assert exempt <= fields
    assert not exempt & used


def test_jobs_die_by_their_ttl_field() -> None:
    """Else results, which are what callers sent through a model, would be kept for ever."""
    lasting = [one for one in INDEXES["fieldOverrides"] if one.get("ttl")]

    assert [(one["collectionGroup"], one["fieldPath"]) for one in lasting] == [("jobs", "ttl")]


def _needs(query: Any) -> tuple[str, list[tuple[str, str]]]:
    """Fields that are compared come first, then the order; a name's order is part of every index."""
    orders = [(one.field.field_path, DIRECTIONS[int(one.direction)]) for one in query.order_by]
    ordered = [(field, direction) for field, direction in orders if field != "__name__"]
    names = {field for field, _ in ordered}
    compared = [(field, "ASCENDING") for field in _compared(query.where) if field not in names]
    return query.from_[0].collection_id, [*compared, *ordered]


def _compared(where: Any) -> list[str]:
    if where.field_filter.field.field_path:
        return [where.field_filter.field.field_path]
    return [field for one in where.composite_filter.filters for field in _compared(one)]
