"""What an instance remembers of refusals, and for how long."""

from __future__ import annotations

from datetime import timedelta

from gate.domain.meter import Denial, Limit, LimitName
from gate.steps import denials
from gate.steps.denials import DenialMemory
from tests.makers import NOON, FakeClock, make_plan

LIMIT = Limit(name=LimitName.REQUESTS_PER_DAY, value=1, ceiling=1)
A_MINUTE = timedelta(minutes=1)
DENIAL = Denial(limit=LIMIT, retry_at=NOON + A_MINUTE)


def test_a_denial_stands_until_its_time_and_no_longer() -> None:
    """At the named time the caller may try."""
    clock = FakeClock()
    memory = DenialMemory(clock)
    memory.remember("usage/alice", DENIAL, "rules")

    assert memory.recall("usage/alice", "rules") == DENIAL
    clock.advance(minutes=1, microseconds=-1)
    assert memory.recall("usage/alice", "rules") == DENIAL
    clock.advance(microseconds=1)
    assert memory.recall("usage/alice", "rules") is None


def test_a_denial_whose_time_has_come_is_forgotten() -> None:
    """Also if the clock should go back."""
    clock = FakeClock()
    memory = DenialMemory(clock)
    memory.remember("usage/alice", DENIAL, "rules")
    clock.advance(minutes=1)
    memory.recall("usage/alice", "rules")
    clock.advance(minutes=-1)

    assert memory.recall("usage/alice", "rules") is None


def test_other_rules_forget_a_denial() -> None:
    """The owner raised the limit; equal rules read anew are the same rules."""
    memory = DenialMemory(FakeClock())
    memory.remember("usage/alice", DENIAL, make_plan(requests_per_day=1))

    assert memory.recall("usage/alice", make_plan(requests_per_day=1)) == DENIAL
    assert memory.recall("usage/alice", make_plan(requests_per_day=2)) is None
    assert memory.recall("usage/alice", make_plan(requests_per_day=1)) is None


def test_one_accounts_denial_is_not_anothers() -> None:
    """Nobody is refused for what somebody else did."""
    memory = DenialMemory(FakeClock())
    memory.remember("usage/alice", DENIAL, "rules")

    assert memory.recall("usage/bob", "rules") is None


def test_what_came_free_is_forgotten() -> None:
    """Forgetting what is not there is fine."""
    memory = DenialMemory(FakeClock())
    memory.remember("usage/alice", DENIAL, "rules")

    memory.forget("usage/alice")
    memory.forget("usage/alice")

    assert memory.recall("usage/alice", "rules") is None


def test_the_oldest_denial_gives_way_when_there_are_too_many() -> None:
    """A flood of accounts must not fill the instance's memory."""
    memory = DenialMemory(FakeClock())
    for number in range(denials._REMEMBERED_MAX):
        memory.remember(f"usage/{number}", DENIAL, "rules")
    memory.remember("usage/0", DENIAL, "rules")
    memory.remember("usage/one-more", DENIAL, "rules")

    assert memory.recall("usage/1", "rules") is None
    assert memory.recall("usage/0", "rules") == DENIAL
    assert memory.recall("usage/one-more", "rules") == DENIAL
