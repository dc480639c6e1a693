"""What a fresh reviewer broke: a hint that neighbours inflate, a log line that a stranger inflates, a slow body."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gate.domain import meter
from gate.endpoints import incoming
from gate.endpoints.cors import Origins
from gate.errors import ForbiddenError, InvalidRequestError
from tests.makers import NOON, make_job, make_moves, make_plan


def test_neighbours_that_are_denied_too_do_not_make_the_wait_longer() -> None:
    """Firestore's sums hold racing denials until they are put back; 57 of them once made 10 seconds into 568."""
    plan = make_plan(requests_per_minute=6, burst=3)
    job = make_job(plan=plan)
    moves = make_moves(job, plan=plan)
    sums = {move.key: 0 for move in moves}
    rate = next(move for move in moves if move.at_least is not None)
    assert rate.limit
    sums[rate.key] = rate.limit.ceiling + 57 * plan.emission_us

    denial = meter.decide(moves, sums, now=NOON)

    assert denial
    assert denial.retry_at == NOON + timedelta(seconds=10)


def test_a_refused_origin_is_not_logged_in_full() -> None:
    with pytest.raises(ForbiddenError) as refused:
        Origins((), allow_loopback=False).check({"origin": "https://" + "a" * 60_000})

    assert len(str(refused.value)) < 300


async def test_a_body_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "_BODY_SECONDS_MAX", 0.05)

    async def drip() -> dict[str, object]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    with pytest.raises(InvalidRequestError, match=r"did not come within 0\.05 seconds"):
        await incoming.read_body(drip)
