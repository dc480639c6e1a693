"""The doors that hold no job are bounded, each of them, before Firestore is asked."""

from __future__ import annotations

from typing import Any

import pytest

from gate.domain.token_scopes import USAGE
from gate.steps.pacing import READS_PER_MINUTE
from tests.api.test_every_route import FREE
from tests.api.world import MODEL, ApiWorld

DOORS = {name: body for name, body in FREE.items() if name != "webhook"}
"""A webhook's address is a secret that no caller knows."""


async def ask(world: ApiWorld, name: str, body: Any, **headers: str) -> Any:
    method, _, path = name.rpartition(" ")
    address = path.replace("{model:path}", MODEL) if method else f"/{name}"
    return await world.http.request(method or "POST", address, json=body, headers=headers)


@pytest.mark.parametrize("name", DOORS)
async def test_it_refuses_who_asks_without_end_and_says_when_to_come_back(world: ApiWorld, name: str) -> None:
    """By every door: what one lets through, another counts."""
    world.pace.count("alice", READS_PER_MINUTE - 1)
    before = await ask(world, name, DOORS[name])
    reads = len(world.ledger.job_reads)

    refused = await ask(world, name, DOORS[name])
    assert before.status_code in (200, 404)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert len(world.ledger.job_reads) == reads

    world.clock.advance(seconds=1)
    assert (await ask(world, name, DOORS[name])).status_code == before.status_code


async def test_an_api_token_that_asks_too_often_has_its_use_not_written(world: ApiWorld) -> None:
    """Noting a use is a write; nobody can have it written without end."""
    token = await world.token(scopes=(USAGE,))
    [kept] = await world.tokens.of_owner("alice")
    world.pace.count(kept.token_id, READS_PER_MINUTE)

    refused = await ask(world, "quota", {"data": None}, authorization=f"Bearer {token}")
    [kept] = await world.tokens.of_owner("alice")
    assert refused.status_code == 429
    assert kept.last_used_at is None


async def test_whoever_has_a_leaked_token_keeps_its_owner_from_nothing(world: ApiWorld) -> None:
    """Least of all from revoking it."""
    token = await world.token(scopes=(USAGE,))
    statuses = [
        (await ask(world, "quota", {"data": None}, authorization=f"Bearer {token}")).status_code
        for _ in range(READS_PER_MINUTE + 1)
    ]
    [kept] = await world.tokens.of_owner("alice")

    revoked = await ask(world, "tokens", {"data": {"action": "revoke", "token_id": kept.token_id}})

    assert statuses[-1] == 429
    assert revoked.status_code == 200


async def test_a_list_of_tokens_counts_as_long_as_it_is(world: ApiWorld) -> None:
    """It is a read for each."""
    for _ in range(20):
        await world.token()
    world.clock.advance(minutes=5)
    answers = [(await ask(world, "tokens", {"data": {"action": "list"}})).status_code for _ in range(40)]

    assert answers == [200] * 29 + [429] * 11
