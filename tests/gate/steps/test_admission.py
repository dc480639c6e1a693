"""A hold on some shard of the budget, or a refusal that says why, until when, and costs nothing the second time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gate.domain.job import Job, JobState, Settlement
from gate.domain.meter import LimitName, Move
from gate.domain.plan import GateConfig, Plan
from gate.errors import LedgerError, QuotaExceededError
from gate.ports import Admitted, Denied, Repeated
from gate.steps.admission import Admission
from gate.steps.policy import Policy
from tests.gate.doubles import WatchedLedger, of_type
from tests.makers import GENEROUS, NOON, OPEN_CONFIG, FakeClock, make_config, make_job, make_plan

DAY = ("days", "2026-11-21")


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[WatchedLedger]:
    ledger = WatchedLedger(str(tmp_path / "ledger.sqlite3"))
    yield ledger
    await ledger.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def admission(ledger: WatchedLedger, clock: FakeClock) -> Admission:
    return Admission(ledger=ledger, clock=clock)


def policy(plan: Plan = GENEROUS, config: GateConfig = OPEN_CONFIG) -> Policy:
    return Policy(plan=plan, plan_name="free", config=config)


async def refusal(admission: Admission, job: Job, rules: Policy, *, may_repeat: bool = False) -> QuotaExceededError:
    with pytest.raises(QuotaExceededError) as refused:
        await admission.hold(job, rules, may_repeat=may_repeat)
    return refused.value


async def spent(ledger: WatchedLedger, shards: int) -> list[int]:
    return [(await ledger.counters(f"budget/{shard}")).get((*DAY, "microdollars"), 0) for shard in range(shards)]


async def test_a_flood_of_refused_calls_writes_nothing_after_the_first(
    admission: Admission, ledger: WatchedLedger
) -> None:
    """Else an attacker could run up the owner's Firestore bill without ever getting in."""
    rules = policy(make_plan(requests_per_day=0))

    outcomes = await asyncio.gather(*(refusal(admission, make_job(), rules) for _ in range(10)))
    first_wave = len(ledger.holds)
    outcomes += await asyncio.gather(*(refusal(admission, make_job(), rules) for _ in range(1_000)))

    assert first_wave <= 10
    assert len(ledger.holds) == first_wave
    assert {error.details["limit"] for error in outcomes} == {"requests_per_day"}


async def test_one_callers_flood_refuses_nobody_else(admission: Admission) -> None:
    """The memory is by account."""
    rules = policy(make_plan(requests_per_day=1))
    for _ in range(2):
        await asyncio.gather(admission.hold(make_job(), rules), return_exceptions=True)

    assert isinstance(await admission.hold(make_job(caller="bob"), rules), Admitted)


async def test_a_changed_plan_is_asked_again(admission: Admission, ledger: WatchedLedger) -> None:
    """The owner raised the limit, and the caller gets in at once."""
    await refusal(admission, make_job(), policy(make_plan(requests_per_day=0)))

    assert isinstance(await admission.hold(make_job(), policy(make_plan(requests_per_day=1))), Admitted)


async def test_after_the_named_time_the_ledger_is_asked_again(
    admission: Admission, ledger: WatchedLedger, clock: FakeClock
) -> None:
    """Whoever waited as long as they were told gets in."""
    rules = policy(make_plan(requests_per_minute=60, burst=1))
    await admission.hold(make_job(plan=rules.plan), rules)
    error = await refusal(admission, make_job(plan=rules.plan), rules)
    clock.advance(seconds=error.details["retry_after_seconds"])

    outcome = await admission.hold(make_job(plan=rules.plan, held_at=clock.now()), rules)

    assert isinstance(outcome, Admitted)
    assert error.details["retry_after_seconds"] == 1.0


async def test_a_settled_job_lets_the_next_one_in_at_once(admission: Admission, ledger: WatchedLedger) -> None:
    """What came free on this instance is not refused from its memory."""
    rules = policy(make_plan(concurrency=1))
    first = await admission.hold(make_job(), rules)
    await refusal(admission, make_job(), rules)
    done = await ledger.settle(first.job, Settlement.release("no"), at=NOON)

    admission.settled(done)

    assert isinstance(await admission.hold(make_job(), rules), Admitted)


async def test_a_repeated_id_is_the_job_that_there_is(admission: Admission, ledger: WatchedLedger) -> None:
    """On whichever shard it was held."""
    rules = policy(config=make_config(budget_shards=4))
    first = await admission.hold(make_job(job_id="again"), rules)

    second = await admission.hold(make_job(job_id="again"), rules)

    assert isinstance(second, Repeated)
    assert second.job == first.job


async def test_a_job_held_before_is_found_though_its_caller_is_refused_from_memory(
    admission: Admission, ledger: WatchedLedger
) -> None:
    """A retry whose first answer got lost counts nothing, so no limit can stand in its way."""
    rules = policy(make_plan(requests_per_day=1))
    first = await admission.hold(make_job(job_id="lost-answer"), rules)
    await ledger.settle(first.job, Settlement.in_full(first.job, JobState.SETTLED, ""), at=NOON)
    await refusal(admission, make_job(), rules)
    holds = len(ledger.holds)

    again = await admission.hold(make_job(job_id="lost-answer"), rules, may_repeat=True)

    assert isinstance(again, Repeated)
    assert again.job.job_id == "lost-answer"
    assert len(ledger.holds) == holds


async def test_a_flood_of_repeated_keys_reads_and_never_writes(admission: Admission, ledger: WatchedLedger) -> None:
    """A key that names no job is refused like any other call; one that cannot repeat is not even looked up."""
    rules = policy(make_plan(requests_per_day=0))
    await refusal(admission, make_job(), rules)

    for _ in range(20):
        await refusal(admission, make_job(), rules, may_repeat=True)
        await refusal(admission, make_job(), rules)

    assert (len(ledger.holds), len(ledger.job_reads)) == (1, 20)


@pytest.mark.parametrize("shards", [1, 4, 50])
async def test_the_budget_is_used_to_the_last_job_that_fits(
    admission: Admission, ledger: WatchedLedger, shards: int
) -> None:
    """Wherever each id begins: shards lend to each other, and nothing is rounded away."""
    rules = policy(config=make_config(budget_microdollars_per_day=8_999, budget_shards=shards))

    outcomes = [await admission.hold(make_job(), rules) for _ in range(8)]
    error = await refusal(admission, make_job(), rules)

    assert of_type(outcomes, Admitted) == 8
    assert sum(await spent(ledger, shards)) == 8_000
    assert error.details["limit"] == "budget_per_day"


async def test_all_shards_used_up_is_a_refusal_by_the_budget(admission: Admission, ledger: WatchedLedger) -> None:
    """And from then on it is refused from memory, for every caller alike."""
    rules = policy(config=make_config(budget_microdollars_per_day=4_000, budget_shards=4))
    jobs = [await admission.hold(make_job(), rules) for _ in range(4)]
    for held in jobs:
        admission.settled(await ledger.settle(held.job, Settlement.in_full(held.job, JobState.SETTLED, ""), at=NOON))

    errors = [await refusal(admission, make_job(caller=f"user-{number}"), rules) for number in range(20)]

    assert {error.details["limit"] for error in errors} == {"budget_per_day"}
    assert {error.details["retry_after_seconds"] for error in errors} == {12 * 3600.0}
    assert len(ledger.holds) < 4 + 4 + 20


async def test_a_refusal_by_the_budget_is_short_while_any_shard_has_a_job_in_flight(
    admission: Admission, ledger: WatchedLedger
) -> None:
    """It may settle at any moment below its hold, and what that frees is for every shard."""
    rules = policy(config=make_config(budget_microdollars_per_day=2_000, budget_shards=2))
    done, _ = [await admission.hold(make_job(), rules) for _ in range(2)]
    await ledger.settle(done.job, Settlement.in_full(done.job, JobState.SETTLED, ""), at=NOON)

    errors = [await refusal(admission, make_job(job_id=f"shard-order-{n}"), rules) for n in range(8)]

    assert {error.details["retry_after_seconds"] for error in errors} == {1.0}


async def test_a_flood_against_a_used_up_budget_writes_nothing(admission: Admission, ledger: WatchedLedger) -> None:
    """From however many accounts it comes."""
    rules = policy(config=make_config(budget_microdollars_per_day=0, budget_shards=3))
    await refusal(admission, make_job(), rules)
    holds = len(ledger.holds)

    await asyncio.gather(*(refusal(admission, make_job(caller=f"user-{n}"), rules) for n in range(1_000)))

    assert len(ledger.holds) == holds


@pytest.mark.parametrize("shards", [1, 3, 8, 50])
async def test_racing_callers_get_the_whole_budget_and_never_more(
    ledger: WatchedLedger, clock: FakeClock, shards: int
) -> None:
    """On two instances at once, and however the budget is spread: as many as fit, and then nobody.

    What a denied hold added may be in a counter for a moment, so who is refused comes again when they were told to.
    """
    instances = [Admission(ledger=ledger, clock=clock) for _ in range(2)]
    rules = policy(config=make_config(budget_microdollars_per_day=20_500, budget_shards=shards))
    waiting = [f"user-{number}" for number in range(120)]

    for _ in range(3):
        outcomes = await asyncio.gather(
            *(instances[n % 2].hold(make_job(caller=who), rules) for n, who in enumerate(waiting)),
            return_exceptions=True,
        )
        waiting = [who for who, came in zip(waiting, outcomes, strict=True) if isinstance(came, QuotaExceededError)]
        clock.advance(seconds=1)

    assert len(waiting) == 100
    assert sum(await spent(ledger, shards)) == 20_000


async def test_a_callers_own_limit_goes_before_trying_more_shards(
    admission: Admission, ledger: WatchedLedger
) -> None:
    """No other shard would help them."""
    rules = policy(make_plan(requests_per_day=0), make_config(budget_shards=8))

    await refusal(admission, make_job(), rules)

    assert len(ledger.holds) == 1


async def test_a_used_up_budget_costs_one_hold_however_many_shards_there_are(
    admission: Admission, ledger: WatchedLedger
) -> None:
    """One call must not cost hundreds of commits."""
    rules = policy(config=make_config(budget_microdollars_per_day=0, budget_shards=512))

    await refusal(admission, make_job(), rules)

    assert len(ledger.holds) == 1


async def test_a_changed_budget_is_asked_again(admission: Admission) -> None:
    """The owner raised it in the console."""
    await refusal(admission, make_job(), policy(config=make_config(budget_microdollars_per_day=0)))

    assert isinstance(await admission.hold(make_job(), policy()), Admitted)


LIMITS = [
    pytest.param({"requests_per_minute": 1, "burst": 1}, LimitName.REQUESTS_PER_MINUTE, 1, id="rate"),
    pytest.param({"requests_per_day": 1}, LimitName.REQUESTS_PER_DAY, 1, id="day"),
    pytest.param({"requests_per_month": 1}, LimitName.REQUESTS_PER_MONTH, 1, id="month"),
    pytest.param({"concurrency": 1}, LimitName.CONCURRENCY, 1, id="concurrency"),
    pytest.param({"gpu_seconds_per_day": 31}, LimitName.GPU_SECONDS_PER_DAY, 31, id="gpu"),
    pytest.param({"microdollars_per_day": 1_001}, LimitName.MICRODOLLARS_PER_DAY, 1_001, id="dollars-day"),
    pytest.param({"microdollars_per_month": 1_001}, LimitName.MICRODOLLARS_PER_MONTH, 1_001, id="dollars-month"),
]


@pytest.mark.parametrize(("limits", "name", "value"), LIMITS)
async def test_a_refusal_says_which_limit_how_much_and_how_long_to_wait(
    admission: Admission, limits: dict[str, Any], name: LimitName, value: int
) -> None:
    """In words for people and in facts for programs, and the wait is never nothing."""
    rules = policy(make_plan(**limits))
    await admission.hold(make_job(plan=rules.plan), rules)

    error = await refusal(admission, make_job(plan=rules.plan), rules)

    assert (error.details["limit"], error.details["limit_value"]) == (name.value, value)
    assert error.details["retry_after_seconds"] > 0
    assert str(value) in error.public_message
    assert "Try again in " in error.public_message


@pytest.mark.parametrize("budget", ["budget_microdollars_per_day", "budget_microdollars_per_month"])
async def test_a_refusal_by_the_budget_does_not_tell_its_size(admission: Admission, budget: str) -> None:
    """What the owner spends is the owner's business."""
    rules = policy(config=make_config(**{budget: 987_600, "budget_shards": 4}))

    error = await refusal(admission, make_job(held_microdollars=990_000), rules)

    told = f"{error.public_message} {error.details} {error}"
    assert error.details["limit_value"] is None
    assert not any(size in told for size in ("9876", "987_6", "246900", "2469"))


async def test_a_denial_about_to_end_still_says_to_wait(admission: Admission, clock: FakeClock) -> None:
    """A wait of zero would make clients try in a tight loop."""
    rules = policy(make_plan(requests_per_minute=60, burst=1))
    await admission.hold(make_job(plan=rules.plan), rules)
    await refusal(admission, make_job(plan=rules.plan), rules)
    clock.advance(microseconds=999_999)

    error = await refusal(admission, make_job(plan=rules.plan), rules)

    assert error.details["retry_after_seconds"] == 0.001


async def test_a_denial_that_ended_while_it_was_made_still_says_to_wait(
    admission: Admission, ledger: WatchedLedger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger took longer to say no than the no lasts."""
    hold = ledger.hold

    async def slow_hold(job: Job, moves: Sequence[Move], **options: Any) -> Admitted | Denied | Repeated:
        outcome = await hold(job, moves, **options)
        clock.advance(days=2)
        return outcome

    monkeypatch.setattr(ledger, "hold", slow_hold)

    error = await refusal(admission, make_job(), policy(make_plan(requests_per_day=0)))

    assert error.details["retry_after_seconds"] == 0.001


async def test_a_refusal_by_the_day_says_when_it_begins_anew(admission: Admission) -> None:
    """As a time, for whoever shows it."""
    error = await refusal(admission, make_job(), policy(make_plan(requests_per_day=0)))

    assert error.details["resets_at"] == "2026-11-22T00:00:00+00:00"
    assert error.public_message == "Daily limit: 0 requests. Try again in 12 hours."


async def test_a_ledger_that_fails_refuses_and_remembers_nothing(admission: Admission, ledger: WatchedLedger) -> None:
    """No ledger, no spending; and the next call asks again."""
    ledger.hold_errors = [LedgerError("away")]
    with pytest.raises(LedgerError):
        await admission.hold(make_job(), policy())

    assert isinstance(await admission.hold(make_job(), policy()), Admitted)


async def test_another_day_is_another_budget(admission: Admission, clock: FakeClock) -> None:
    """What was used up yesterday is there again after midnight."""
    rules = policy(config=make_config(budget_microdollars_per_day=1_000))
    held = await admission.hold(make_job(), rules)
    assert isinstance(held, Admitted)
    await refusal(admission, make_job(), rules)
    clock.advance(hours=12)

    outcome = await admission.hold(make_job(held_at=NOON + timedelta(hours=12)), rules)

    assert isinstance(outcome, Admitted)
