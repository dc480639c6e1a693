"""What is refused has cost nothing, and limits are met to the last job."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gate.domain.answer import Answer
from gate.errors import ForbiddenError, GateError, InvalidRequestError, QuotaExceededError, UnauthenticatedError
from gate.ports import Credentials
from tests.gate.doubles import fill, of_type
from tests.gate.world import ANONYMOUS, World, set_plan
from tests.makers import make_config, make_documents

REFUSED = [
    pytest.param({"credentials": Credentials()}, UnauthenticatedError, id="nobody"),
    pytest.param({"credentials": Credentials(bearer="mallory")}, ForbiddenError, id="disabled"),
    pytest.param({"credentials": ANONYMOUS}, ForbiddenError, id="cohort-without-plan"),
    pytest.param({"model": "gpt-5"}, ForbiddenError, id="model-not-served"),
    pytest.param({"credentials": Credentials(bearer="limited")}, ForbiddenError, id="model-not-in-plan"),
    pytest.param({"inputs": "x" * 10_001}, InvalidRequestError, id="too-many-characters"),
    pytest.param({"inputs": ["x"] * 33}, InvalidRequestError, id="too-many-items"),
    pytest.param({"inputs": "x", "parameters": {"p": "y" * 100_000}}, InvalidRequestError, id="too-many-bytes"),
    pytest.param({"inputs": ""}, InvalidRequestError, id="empty-text"),
    pytest.param({"inputs": []}, InvalidRequestError, id="empty-list"),
    pytest.param({"inputs": {}}, InvalidRequestError, id="empty-object"),
    pytest.param({"inputs": "\ud800"}, InvalidRequestError, id="lone-surrogate"),
]


@pytest.mark.parametrize(("request_", "kind"), REFUSED)
async def test_what_is_refused_spends_nothing(world: World, request_: dict[str, Any], kind: type[GateError]) -> None:
    """Neither a hold nor a call: all that can be checked before is checked before."""
    documents = make_documents(config=make_config(plans={"verified": "free"}))
    documents["users/mallory"] = {"disabled": True}
    documents["users/limited"] = {"overrides": {"models": []}}
    await fill(world.ledger, documents)

    with pytest.raises(kind):
        await world.infer(**request_)

    assert (world.ledger.holds, world.provider.orders) == ([], [])


async def test_a_caller_over_a_limit_spends_nothing(world: World) -> None:
    """The provider is not asked."""
    await set_plan(world, requests_per_day=0)

    with pytest.raises(QuotaExceededError):
        await world.infer()

    assert world.provider.orders == []


async def test_racing_calls_run_exactly_as_many_as_the_plan_allows(world: World) -> None:
    """Sixty at once on a limit of five: five answers, five jobs at the provider."""
    await set_plan(world, requests_per_day=5)

    outcomes = await asyncio.gather(*(world.infer() for _ in range(60)), return_exceptions=True)

    assert of_type(outcomes, Answer) == 5
    assert of_type(outcomes, QuotaExceededError) == 55
    assert len(world.provider.orders) == 5


async def test_concurrency_comes_free_as_jobs_end(world: World) -> None:
    """One after the other they all get in."""
    await set_plan(world, concurrency=1)

    for _ in range(5):
        await world.infer()

    assert len(world.provider.orders) == 5


async def test_who_was_refused_for_a_running_job_gets_in_when_it_ends(world: World) -> None:
    """At once: the denial that was remembered is forgotten with the job."""
    await set_plan(world, concurrency=1)
    world.provider.let_go.clear()
    asking = asyncio.ensure_future(world.infer())
    await world.provider.handed_over.wait()
    with pytest.raises(QuotaExceededError):
        await world.infer()
    world.provider.let_go.set()
    await asking

    assert (await world.infer()).outputs


async def test_who_is_remembered_to_be_refused_is_so_before_their_request_is_looked_at(world: World) -> None:
    """A flood of large requests costs no more than one of small ones. Who names a job is not: it may be answered."""
    await set_plan(world, requests_per_day=1)
    first = await world.infer(idempotency_key="k")
    with pytest.raises(QuotaExceededError):
        await world.infer()

    with pytest.raises(QuotaExceededError):
        await world.infer("\ud800")
    with pytest.raises(InvalidRequestError):
        await world.infer("\ud800", idempotency_key="k")
    assert (await world.infer(idempotency_key="k")).job.job_id == first.job.job_id
