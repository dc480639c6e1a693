"""What holds no job is bounded too: nobody has Firestore read without end."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twohop_client import client

from gate.domain.request import InferRequest
from gate.errors import GateError, QuotaExceededError
from gate.steps import joining
from gate.steps.pacing import READS_PER_MINUTE, Pace
from tests.gate.doubles import fill
from tests.gate.world import ALICE, World, set_plan
from tests.makers import FakeClock, make_config, make_documents

_JS_CLIENT = Path(__file__).parents[3] / "web/client/src/watching.js"


def asked(pace: Pace, uid: str = "alice") -> bool:
    """Ask once, and return whether that was allowed."""
    try:
        pace.check(uid)
    except QuotaExceededError:
        return False
    pace.count(uid)
    return True


class TestPace:
    def test_a_minutes_worth_may_come_at_once_and_no_more(self) -> None:
        pace = Pace(clock=FakeClock(), reads_per_minute=60)

        assert [asked(pace) for _ in range(70)] == [True] * 60 + [False] * 10

    def test_each_caller_has_their_own(self) -> None:
        pace = Pace(clock=FakeClock(), reads_per_minute=1)

        assert [asked(pace, "alice"), asked(pace, "alice"), asked(pace, "bob")] == [True, False, True]

    def test_who_comes_when_they_were_told_to_is_let_in(self) -> None:
        """However often they were refused meanwhile."""
        clock = FakeClock()
        pace = Pace(clock=clock, reads_per_minute=60)
        pace.count("alice", 90)
        for _ in range(10):
            asked(pace)
        with pytest.raises(QuotaExceededError) as refusal:
            pace.check("alice")

        clock.advance(seconds=refusal.value.details["retry_after_seconds"])
        assert refusal.value.details["limit"] == "reads_per_minute"
        assert asked(pace)

    @given(st.lists(st.floats(0, 5), max_size=200), st.integers(1, 120))
    def test_no_minute_has_more_than_two_minutes_worth(self, pauses_seconds: list[float], per_minute: int) -> None:
        """A minute's worth that was saved up, and what comes by while it is used."""
        clock, at = FakeClock(), []
        pace = Pace(clock=clock, reads_per_minute=per_minute)
        for pause in pauses_seconds:
            clock.advance(seconds=pause)
            if asked(pace):
                at.append(clock.now())

        assert all(sum(0 <= (one - start).total_seconds() < 60 for one in at) <= 2 * per_minute for start in at)

    def test_a_crowd_is_forgotten_and_not_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The memory of an instance is bounded whoever calls."""
        monkeypatch.setattr("gate.steps.pacing._REMEMBERED_MAX", 3)
        pace = Pace(clock=FakeClock(), reads_per_minute=1)
        for number in range(100):
            pace.count(f"caller-{number}")

        assert len(pace._paid_until) == 3


class TestRequestsThatHoldNothing:
    @pytest.fixture(autouse=True)
    def slow(self, world: World) -> None:
        world.pace = Pace(clock=world.clock, reads_per_minute=10)
        world.gate = world.another_gate()

    async def told(self, world: World, **fields: Any) -> str:
        """Ask, and return which limit refused it, or nothing."""
        try:
            await world.gate.infer(ALICE, InferRequest(inputs="a", **fields))
        except GateError as exc:
            return str(exc.details["limit"])
        return ""

    async def test_repeating_a_job_that_has_ended(self, world: World) -> None:
        """No plan counts it; each one is two reads."""
        told = [await self.told(world, idempotency_key="k") for _ in range(20)]

        assert told == [""] * 6 + ["reads_per_minute"] * 14
        assert len(world.provider.orders) == 1
        assert len(world.ledger.holds) == 6

    async def test_being_refused_with_a_key_by_a_plan(self, world: World) -> None:
        """Each such request is looked for, since its job may be there."""
        await set_plan(world, requests_per_day=0)
        told = [await self.told(world, idempotency_key=f"k{number}") for number in range(20)]

        assert told == ["requests_per_day"] * 10 + ["reads_per_minute"] * 10
        assert len(world.ledger.job_reads) == 10

    async def test_being_refused_with_a_key_by_the_switch(self, world: World) -> None:
        await fill(world.ledger, make_documents(config=make_config(kill_level=3)))
        told = [await self.told(world, idempotency_key=f"k{number}") for number in range(20)]

        assert told == ["kill_level"] * 10 + ["reads_per_minute"] * 10
        assert len(world.ledger.job_reads) == 10

    async def test_who_has_used_it_up_may_still_ask_for_something_new(self, world: World) -> None:
        """A hold is bounded by the plan, and pays for what it reads."""
        world.pace.count("alice", 100)

        assert await self.told(world, idempotency_key="k") == "reads_per_minute"
        assert await self.told(world) == ""

    async def test_new_jobs_with_keys_count_as_nothing(self, world: World) -> None:
        """A plan may allow more than that a minute."""
        assert [await self.told(world, idempotency_key=f"k{number}") for number in range(30)] == [""] * 30


async def test_fifty_that_wait_for_one_job_read_it_as_one_would(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retries of one key share their looks."""
    monkeypatch.setattr(joining, "_PAUSE_SECONDS_FIRST", 0.05)
    world.provider.let_go.clear()
    first = asyncio.ensure_future(world.infer(idempotency_key="k"))
    await world.provider.handed_over.wait()
    others = [asyncio.ensure_future(world.infer(idempotency_key="k")) for _ in range(50)]
    await world.ledger.job_read.wait()
    world.provider.let_go.set()

    answers = await asyncio.gather(first, *others)
    assert sum(answer.repeated for answer in answers) == 50
    assert len(world.ledger.job_reads) < 25


def test_the_clients_own_asking_is_far_within_it() -> None:
    """Twenty jobs that begin at once, each watched by asking: the busiest minute is the first one."""
    script = _JS_CLIENT.read_text("utf-8")
    said = {name: float(value) for name, value in re.findall(r"const (ASK_SECONDS_\w+) = ([\d.]+);", script)}
    assert said == {"ASK_SECONDS_FIRST": client._ASK_SECONDS_FIRST, "ASK_SECONDS_MAX": client._ASK_SECONDS_MAX}
    at, pause, asks = 0.0, client._ASK_SECONDS_FIRST, 0
    while at < 60:
        at, pause, asks = at + pause, min(pause * 1.5, client._ASK_SECONDS_MAX), asks + 1

    assert 20 * asks < READS_PER_MINUTE / 2
