"""What happens to a job in these tests: it is submitted, asked for, and runs at a provider that takes its time."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec.structs import replace

from gate.domain.answer import Answer
from gate.domain.job import Job
from gate.domain.plan import Cohort
from gate.domain.request import InferRequest
from gate.ports import Caller
from gate.provider import Part, ProviderState
from gate.providers.scripted import Act, ScriptedProvider
from tests.gate.doubles import running
from tests.gate.world import ALICE, PAYLOAD, World

BOB = Caller(uid="bob", cohort=Cohort.VERIFIED)
TOOK = 1_154
"""7 whole seconds of GPU as `service.test_answered` adds up, and a second of hop 1 for the webhook."""


async def submit(world: World, inputs: Any = PAYLOAD, **fields: Any) -> Answer:
    return await world.gate.jobs.submit(ALICE, InferRequest(inputs=inputs, **fields))


async def infer(world: World, **fields: Any) -> Answer:
    return await world.gate.infer(ALICE, InferRequest(inputs=PAYLOAD, **fields))


def busy(world: World) -> ScriptedProvider:
    """Give the gate a provider that takes its time, until it is told to stop."""
    provider = ScriptedProvider(otherwise=Act(parts=(Part(text="a"),) * 4, delay_seconds=60))
    provider.capabilities = replace(provider.capabilities, wait_seconds_max=0.01)
    world.gate = world.another_gate(provider=provider)
    return provider


async def handed_over(world: World, provider: ScriptedProvider) -> Job:
    """Wait until the job is at its provider, and return it."""
    async with asyncio.timeout(10):
        while not provider.orders:  # noqa: ASYNC110 - the provider sets no event
            await asyncio.sleep(0.01)
    return await world.the_job()


async def submitted(world: World, *then: Any) -> Job:
    """Submit a job that is queued; `then` is what its provider says of it afterwards."""
    world.script(running(state=ProviderState.QUEUED), *(then or (running(),)))
    return (await submit(world)).job
