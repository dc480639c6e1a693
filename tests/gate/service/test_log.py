"""The log tells what each job held and paid, and never what was asked or shown."""

from __future__ import annotations

import asyncio

import pytest

from gate.errors import ProviderUnavailableError
from gate.ports import Credentials
from tests.gate.doubles import Step, completed, failed, running
from tests.gate.world import HELD, PAYLOAD, World


@pytest.mark.parametrize(
    "steps",
    [
        [completed(outputs=PAYLOAD)],
        [ProviderUnavailableError("full")],
        [ZeroDivisionError(PAYLOAD)],
        [running(), ProviderUnavailableError("blip"), failed(failure_message=PAYLOAD)],
    ],
    ids=["answered", "released", "bug", "failed"],
)
async def test_no_log_line_holds_a_token_or_a_payload(world: World, steps: list[Step]) -> None:
    """What a caller sends and is told is nobody else's."""
    token = Credentials(bearer="token-of-alice", app_check="app-check-token")
    world.script(*steps)

    await asyncio.gather(world.infer(credentials=token, idempotency_key="my-key"), return_exceptions=True)

    written = str([{**line, "time": "left out, for any digits may be in it"} for line in world.log.lines()])
    assert "job_id" in written
    assert not any(secret in written for secret in (PAYLOAD, "token-of", "app-check", "my-key", "0.25"))


async def test_a_job_is_one_line_in_the_log_with_what_it_held_and_paid(world: World) -> None:
    """By which an owner can follow the money; one that has not ended yet is found in the ledger."""
    answer = await world.infer()

    assert [line["message"] for line in world.log.lines()] == ["job.settled"]
    [line] = world.log.lines("job.settled")
    assert (line["job_id"], line["caller"]) == (answer.job.job_id, "alice")
    assert (line["held_microdollars"], line["settled_microdollars"]) == (HELD, 1_127)
