"""What every ledger promises, whatever it is made of. A ledger proves itself by inheriting these classes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec
import pytest
from msgspec.structs import replace

from gate.domain import meter
from gate.domain.job import HandOver, Job, JobState, Settlement
from gate.domain.lending import Shards
from gate.domain.meter import LimitName, Move
from gate.domain.plan import Budget, Cohort, GateConfig, Plan
from gate.errors import JobNotFoundError, UnauthenticatedError
from gate.money import Spent
from gate.ports import Admitted, Denied, Documents, Ledger, Repeated
from tests.makers import GENEROUS, NOON, OPEN_CONFIG, make_config, make_job, make_moves, make_plan

DAY, MONTH = ("days", "2026-11-21"), ("months", "2026-11")
HOUR = (*DAY, "hours", "12")
PER_HOUR = Budget(microdollars_per_hour=5_000)
PERIODS = (HOUR, DAY, MONTH)
LATER = NOON + timedelta(seconds=20)


HAND_OVER = HandOver(provider_job_id="remote-1", due_at=LATER, look_at=NOON + timedelta(seconds=5), awaited_ms=700)


async def hold(
    ledger: Ledger, job: Job, *, plan: Plan = GENEROUS, config: GateConfig = OPEN_CONFIG
) -> Admitted | Denied | Repeated:
    return await ledger.hold(job, make_moves(job, plan=plan, config=config))


async def held(ledger: Ledger, **changes: Any) -> Job:
    outcome = await hold(ledger, make_job(**changes))
    assert isinstance(outcome, Admitted)
    return outcome.job


def settlement(**changes: Any) -> Settlement:
    fields: dict[str, Any] = {
        "state": JobState.SETTLED,
        "microdollars": 120,
        "gpu_ms": 2_500,
        "spent": Spent(execution_ms=2_400, start_ms=100, wait_ms=2_600),
    }
    return Settlement(**{**fields, **changes})


def nonzero(counters: Mapping[tuple[str, ...], int]) -> dict[tuple[str, ...], int]:
    """Leave out zeros, and the two counters that are times."""
    times = (("rate_tat_us",), meter.FIRST_SEEN)
    return {counter: value for counter, value in counters.items() if value and counter not in times}


def transfer(counter: tuple[str, ...], amount: int, *, lender: str) -> list[Move]:
    return [
        Move(account=lender, counter=counter, amount=amount),
        Move(account="budget/0", counter=counter, amount=-amount),
    ]


def budget_counters(microdollars: int) -> dict[tuple[str, ...], int]:
    """Return what a shard counts of one of `make_job`'s jobs, in each scope and each period."""
    scopes = [("microdollars",), ("cohort_microdollars", "verified"), ("model_microdollars", "all-minilm-l6-v2")]
    return {period + scope: microdollars for period in PERIODS for scope in scopes}


class Store(Ledger, Documents, Protocol):
    """A ledger with the owner's documents beside it."""


class LedgerContract:
    """Inherit it and give fixtures `ledger` and `store`, the same one, empty at the start of each test."""

    async def test_a_hold_counts_the_worst_case_for_caller_and_budget(self, ledger: Ledger) -> None:
        """All counters move in the one commit that creates the job."""
        outcome = await hold(ledger, make_job())

        assert isinstance(outcome, Admitted)
        assert nonzero(await ledger.counters("usage/alice")) == {
            ("in_flight",): 1,
            (*DAY, "requests"): 1,
            (*DAY, "gpu_ms"): 30_000,
            (*MONTH, "requests"): 1,
            **{(*period, "microdollars"): 1_000 for period in PERIODS},
        }
        assert nonzero(await ledger.counters("budget/0")) == {("in_flight",): 1, **budget_counters(1_000)}

    async def test_a_hold_tells_each_counter_as_it_stands_after_it(self, ledger: Ledger) -> None:
        """What is left of a quota is told from these, with no further read."""
        await held(ledger)
        job = make_job()
        moves = make_moves(job)

        outcome = await ledger.hold(job, moves)

        assert isinstance(outcome, Admitted)
        assert set(outcome.sums) >= {move.key for move in moves}
        assert outcome.sums["usage/alice", (*DAY, "requests")] == 2

    async def test_the_time_of_a_callers_first_hold_is_kept_and_told(self, ledger: Ledger) -> None:
        """An ID token does not say how old an account is, and a hold reads nothing."""
        key = ("usage/alice", meter.FIRST_SEEN)
        first = await hold(ledger, make_job(held_at=NOON))
        later = await hold(ledger, make_job(held_at=LATER))

        assert isinstance(first, Admitted)
        assert isinstance(later, Admitted)
        assert first.sums[key] == later.sums[key] == meter.to_microseconds(NOON)

    async def test_a_newcomer_is_told_by_a_denial_and_stays_seen(self, ledger: Ledger) -> None:
        """Another policy holds for them, so nothing is held; and the time of their first try is no secret later."""
        seen_by = NOON - timedelta(hours=1)
        job = make_job(held_at=NOON)
        moves = meter.moves_to_hold(job, GENEROUS, OPEN_CONFIG, first_seen_by=seen_by)
        told = await ledger.hold(job, moves)

        assert isinstance(told, Denied)
        assert told.denial.limit.name is LimitName.AGE
        assert told.denial.retry_at == NOON + timedelta(hours=1)
        assert nonzero(await ledger.counters("usage/alice")) == {}
        assert nonzero(await ledger.counters("budget/0")) == {}

    async def test_who_was_seen_before_is_no_newcomer(self, ledger: Ledger) -> None:
        """One commit, as ever."""
        await held(ledger, held_at=NOON)
        job = make_job(held_at=LATER)
        moves = meter.moves_to_hold(job, GENEROUS, OPEN_CONFIG, first_seen_by=NOON)

        assert isinstance(await ledger.hold(job, moves), Admitted)

    async def test_a_held_job_can_be_read_back_whole(self, ledger: Ledger) -> None:
        """Nothing of a job is lost or changed on its way through the ledger."""
        job = await held(ledger, cohort="anonymous", emission_us=100)

        assert await ledger.job(job.job_id) == job

    async def test_a_job_that_is_handed_over_runs_and_moves_no_counter(self, ledger: Ledger) -> None:
        """Its call has ended, and nothing else has."""
        job = await held(ledger)
        before = await ledger.counters("usage/alice")

        running = await ledger.hand_over(job, HAND_OVER)

        assert (running.state, running.provider_job_id, running.due_at) == (JobState.RUNNING, "remote-1", LATER)
        assert (running.expires_at, running.awaited_ms) == (NOON + timedelta(seconds=5), 700)
        assert await ledger.job(job.job_id) == running
        assert await ledger.counters("usage/alice") == before

    @pytest.mark.parametrize("fresh", [True, False], ids=["as-handed-over", "as-held"])
    async def test_a_running_job_settles_as_any_other(self, ledger: Ledger, fresh: bool) -> None:
        """Whichever copy of it one has."""
        job = await held(ledger)
        running = await ledger.hand_over(job, HAND_OVER)

        done = await ledger.settle(running if fresh else job, settlement(), at=LATER)

        assert (done.state, done.settled_microdollars, done.provider_job_id) == (JobState.SETTLED, 120, "remote-1")
        assert await ledger.job(job.job_id) == done
        assert nonzero(await ledger.counters("usage/alice"))[*DAY, "microdollars"] == 120

    async def test_a_job_that_ended_is_not_handed_over_any_more(self, ledger: Ledger) -> None:
        """Its end may be told before the note of where it runs is written."""
        job = await held(ledger)
        done = await ledger.settle(job, settlement(), at=LATER)

        assert await ledger.hand_over(job, HAND_OVER) == done

    async def test_a_running_job_may_be_handed_over_again(self, ledger: Ledger) -> None:
        """That is how the sweeper puts off its next look."""
        job = await held(ledger)
        await ledger.hand_over(job, HAND_OVER)

        again = await ledger.hand_over(job, replace(HAND_OVER, look_at=LATER))

        assert (again.state, again.expires_at) == (JobState.RUNNING, LATER)

    async def test_a_wish_to_cancel_is_noted_once_and_moves_no_counter(self, ledger: Ledger) -> None:
        """Whoever waits for the job looks for it."""
        job = await held(ledger)
        before = await ledger.counters("usage/alice")

        asked = await ledger.ask_to_cancel(job, at=NOON)
        again = await ledger.ask_to_cancel(job, at=LATER)

        there = await ledger.job(job.job_id)
        assert there == asked == again
        assert (asked.state, asked.cancel_asked_at) == (JobState.HELD, NOON)
        assert await ledger.counters("usage/alice") == before

    async def test_a_job_that_is_to_be_cancelled_runs_and_settles_as_any_other(self, ledger: Ledger) -> None:
        """By those who hold an older copy of it."""
        job = await held(ledger)
        await ledger.ask_to_cancel(job, at=NOON)

        running = await ledger.hand_over(job, HAND_OVER)
        done = await ledger.settle(job, settlement(), at=LATER)

        assert (running.state, running.cancel_asked_at) == (JobState.RUNNING, NOON)
        assert done.state is JobState.SETTLED
        assert await ledger.ask_to_cancel(job, at=LATER) == done

    async def test_handing_over_an_unknown_job_is_an_error(self, ledger: Ledger) -> None:
        with pytest.raises(JobNotFoundError):
            await ledger.hand_over(make_job(), HAND_OVER)

    async def test_a_running_job_expires_when_it_is_to_be_looked_at(self, ledger: Ledger) -> None:
        """Not when its hold would have."""
        job = await held(ledger)
        running = await ledger.hand_over(job, HAND_OVER)

        assert await ledger.expired(now=NOON + timedelta(seconds=4)) == []
        assert await ledger.expired(now=NOON + timedelta(seconds=5)) == [running]

    async def test_of_many_who_end_a_running_job_one_does(self, ledger: Ledger) -> None:
        """A webhook, the sweeper and a caller's cancel may all come at once."""
        running = await ledger.hand_over(await held(ledger), HAND_OVER)

        ends = await asyncio.gather(
            *(ledger.settle(running, settlement(microdollars=amount), at=LATER) for amount in range(100, 110))
        )

        assert len({done.settled_microdollars for done in ends}) == 1
        counted = nonzero(await ledger.counters("usage/alice"))[*DAY, "microdollars"]
        assert counted == ends[0].settled_microdollars

    async def test_an_unknown_job_is_none(self, ledger: Ledger) -> None:
        """Asking is no error."""
        assert await ledger.job("never-seen") is None

    @pytest.mark.parametrize(
        ("limits", "name"),
        [
            pytest.param({"requests_per_minute": 1, "burst": 5}, LimitName.REQUESTS_PER_MINUTE, id="rate"),
            pytest.param({"requests_per_day": 5}, LimitName.REQUESTS_PER_DAY, id="day"),
            pytest.param({"requests_per_month": 5}, LimitName.REQUESTS_PER_MONTH, id="month"),
            pytest.param({"concurrency": 5}, LimitName.CONCURRENCY, id="concurrency"),
            pytest.param({"gpu_seconds_per_day": 150}, LimitName.GPU_SECONDS_PER_DAY, id="gpu-seconds"),
            pytest.param({"microdollars_per_day": 5_999}, LimitName.MICRODOLLARS_PER_DAY, id="dollars-day"),
            pytest.param({"microdollars_per_month": 5_000}, LimitName.MICRODOLLARS_PER_MONTH, id="dollars-month"),
        ],
    )
    async def test_100_racing_callers_on_a_limit_of_5_admit_exactly_5(
        self, ledger: Ledger, limits: dict[str, int], name: LimitName
    ) -> None:
        """Never six, and never four: increments are serialised, and each sees a sum that includes itself."""
        plan = make_plan(**limits)
        jobs = [make_job(plan=plan) for _ in range(100)]

        outcomes = await asyncio.gather(*(hold(ledger, job, plan=plan) for job in jobs))

        denials = [outcome.denial for outcome in outcomes if isinstance(outcome, Denied)]
        assert sum(isinstance(outcome, Admitted) for outcome in outcomes) == 5
        assert len(denials) == 95
        assert {denial.limit.name for denial in denials} == {name}
        assert (await ledger.counters("usage/alice"))[*DAY, "requests"] == 5

    async def test_many_callers_together_never_exceed_the_global_budget(self, ledger: Ledger) -> None:
        """The owner's budget holds though each caller has plenty of their own."""
        config = make_config(budget_microdollars_per_day=7_000)
        jobs = [make_job(caller=f"user-{number % 10}") for number in range(60)]

        outcomes = await asyncio.gather(*(hold(ledger, job, config=config) for job in jobs))

        assert sum(isinstance(outcome, Admitted) for outcome in outcomes) == 7
        assert (await ledger.counters("budget/0"))[*DAY, "microdollars"] == 7_000

    async def test_a_denied_hold_leaves_nothing_behind(self, ledger: Ledger) -> None:
        """Neither a count nor a job, so that the same request may come again later."""
        job, plan = make_job(), make_plan(requests_per_day=0)

        outcome = await hold(ledger, job, plan=plan)

        assert isinstance(outcome, Denied)
        assert await ledger.job(job.job_id) is None
        assert nonzero(await ledger.counters("usage/alice")) == {}
        assert nonzero(await ledger.counters("budget/0")) == {}

    async def test_a_denied_job_may_be_held_once_there_is_room(self, ledger: Ledger) -> None:
        """A denial is not a job that exists."""
        job = make_job()
        await hold(ledger, job, plan=make_plan(requests_per_day=0))

        assert isinstance(await hold(ledger, job), Admitted)

    async def test_a_denied_burst_does_not_push_the_rate_limit_further_away(self, ledger: Ledger) -> None:
        """Being refused costs nothing: after the time that the denial named, one request passes."""
        plan = make_plan(requests_per_minute=60, burst=1)
        await hold(ledger, make_job(plan=plan), plan=plan)
        for _ in range(5):
            outcome = await hold(ledger, make_job(plan=plan), plan=plan)
            assert isinstance(outcome, Denied)
            retry_at = outcome.denial.retry_at

        retry = make_job(plan=plan, held_at=retry_at)
        early = make_job(plan=plan, held_at=retry_at - timedelta(microseconds=1))

        assert retry_at == NOON + timedelta(seconds=1)
        assert isinstance(await hold(ledger, early, plan=plan), Denied)
        assert isinstance(await hold(ledger, retry, plan=plan), Admitted)

    async def test_a_repeated_job_id_holds_once_under_racing(self, ledger: Ledger) -> None:
        """Fifty retries of one request are one job."""
        first = make_job()
        twins = [make_job(job_id=first.job_id) for _ in range(49)]

        outcomes = await asyncio.gather(*(hold(ledger, job) for job in [first, *twins]))

        assert sum(isinstance(outcome, Admitted) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, Repeated) for outcome in outcomes) == 49
        assert (await ledger.counters("usage/alice"))[*DAY, "requests"] == 1

    async def test_a_repeated_job_id_is_told_the_job_that_there_is(self, ledger: Ledger) -> None:
        """So that a retry can be answered with what the first try gave."""
        job = await held(ledger)
        await ledger.settle(job, settlement(result="[1]"), at=LATER)

        outcome = await hold(ledger, make_job(job_id=job.job_id))

        assert isinstance(outcome, Repeated)
        assert (outcome.job.state, outcome.job.result) == (JobState.SETTLED, "[1]")
        assert outcome.job.attempt == job.attempt

    async def test_a_hold_that_requires_a_document_marks_it_as_used(self, store: Store) -> None:
        """The owner of a token sees when it was used last; the rest of the document stays as it is."""
        await store.write("tokens/one", {"owner": "alice"})
        job = make_job(token_id="one")

        outcome = await store.hold(job, make_moves(job), require=["tokens/one"])

        assert isinstance(outcome, Admitted)
        document = await store.read("tokens/one")
        assert document is not None
        assert document["owner"] == "alice"
        assert msgspec.convert(str(document["last_used_at"]).replace(" ", "T"), datetime) == NOON
        assert await store.job(job.job_id) == outcome.job

    async def test_a_hold_whose_required_document_is_gone_holds_nothing(self, store: Store) -> None:
        """A token that was revoked a moment ago spends nothing, on whichever instance it is shown."""
        job = make_job(token_id="gone")

        with pytest.raises(UnauthenticatedError, match="tokens/gone"):
            await store.hold(job, make_moves(job), require=["tokens/gone"])
        assert await store.job(job.job_id) is None
        assert nonzero(await store.counters("usage/alice")) == {}
        assert await store.read("tokens/gone") is None

    async def test_a_repeated_job_is_not_told_to_a_token_that_is_gone(self, store: Store) -> None:
        """Its answer belongs to a caller, and nobody is one any more."""
        job = await held(store)

        with pytest.raises(UnauthenticatedError):
            await store.hold(make_job(job_id=job.job_id), make_moves(job), require=["tokens/gone"])

    async def test_a_denied_hold_of_a_token_leaves_the_token(self, store: Store) -> None:
        """It may come again."""
        await store.write("tokens/one", {"owner": "alice"})
        job, plan = make_job(token_id="one"), make_plan(requests_per_day=0)

        outcome = await store.hold(job, make_moves(job, plan=plan), require=["tokens/one"])

        assert isinstance(outcome, Denied)
        assert (await store.read("tokens/one") or {})["owner"] == "alice"

    @pytest.mark.parametrize(
        ("budgets", "name"),
        [
            pytest.param({"budget_microdollars_per_hour": 5_000}, LimitName.BUDGET_PER_HOUR, id="hour"),
            pytest.param(
                {"cohort_budgets": {Cohort.VERIFIED: PER_HOUR}}, LimitName.COHORT_BUDGET_PER_HOUR, id="cohort"
            ),
            pytest.param(
                {"model_budgets": {"all-minilm-l6-v2": PER_HOUR}}, LimitName.MODEL_BUDGET_PER_HOUR, id="model"
            ),
        ],
    )
    async def test_a_budget_of_one_scope_is_exact_under_racing(
        self, ledger: Ledger, budgets: dict[str, Any], name: LimitName
    ) -> None:
        """It is one more counter of the same commit."""
        config = make_config(**budgets)
        jobs = [make_job(caller=f"user-{number}") for number in range(40)]

        outcomes = await asyncio.gather(*(hold(ledger, job, config=config) for job in jobs))

        assert sum(isinstance(outcome, Admitted) for outcome in outcomes) == 5
        assert {outcome.denial.limit.name for outcome in outcomes if isinstance(outcome, Denied)} == {name}

    async def test_what_is_moved_between_accounts_is_moved_in_one_commit(self, ledger: Ledger) -> None:
        """The sum over all of them stays what it was; and `decide` sees what there is."""
        await held(ledger)
        counter = (*DAY, "microdollars")

        seen = await ledger.rebalance("budget/", lambda _: transfer(counter, 300, lender="budget/7"))

        after = [(await ledger.counters(f"budget/{shard}")).get(counter, 0) for shard in (0, 7)]
        assert {account: counters[counter] for account, counters in seen.items()} == {"budget/0": 1_000}
        assert after == [700, 300]

    async def test_racing_rebalances_never_lend_more_than_there_is(self, ledger: Ledger) -> None:
        """The one who lends is as it was when it was decided that it can."""
        counter = (*DAY, "microdollars")

        def decide(shards: Shards) -> list[Move]:
            lent = shards.get("budget/7", {}).get(counter, 0)
            return transfer(counter, 100, lender="budget/7") if lent + 100 <= 500 else []

        await asyncio.gather(*(ledger.rebalance("budget/", decide) for _ in range(12)))

        assert (await ledger.counters("budget/7"))[counter] == 500
        assert (await ledger.counters("budget/0"))[counter] == -500

    async def test_a_rebalance_that_decides_nothing_moves_nothing(self, ledger: Ledger) -> None:
        """It is how all accounts are read at once."""
        await held(ledger)

        seen = await ledger.rebalance("budget/", lambda _: [])

        assert dict(seen["budget/0"]) == dict(await ledger.counters("budget/0"))

    async def test_settling_turns_the_hold_into_what_it_took(self, ledger: Ledger) -> None:
        """The caller pays what was used, and the rest of the hold is free again."""
        job = await held(ledger)

        done = await ledger.settle(job, settlement(), at=LATER)

        assert (done.state, done.settled_microdollars, done.finished_at) == (JobState.SETTLED, 120, LATER)
        assert nonzero(await ledger.counters("usage/alice")) == {
            (*DAY, "requests"): 1,
            (*DAY, "gpu_ms"): 2_500,
            (*MONTH, "requests"): 1,
            **{(*period, "microdollars"): 120 for period in PERIODS},
        }
        assert nonzero(await ledger.counters("budget/0")) == budget_counters(120)
        assert await ledger.job(job.job_id) == done

    async def test_releasing_puts_back_everything_but_the_rate(self, ledger: Ledger) -> None:
        """A job that never ran costs nothing, yet a flood of such requests still meets the rate limit."""
        job = await held(ledger)

        done = await ledger.settle(job, Settlement.release("no worker"), at=LATER)

        counters = await ledger.counters("usage/alice")
        assert (done.state, done.settled_microdollars, done.failure) == (JobState.RELEASED, 0, "no worker")
        assert nonzero(counters) == {}
        assert counters["rate_tat_us",] > 0

    @pytest.mark.parametrize("again", ["as-held", "as-settled", "version-lost"])
    async def test_settling_twice_changes_nothing(self, ledger: Ledger, again: str) -> None:
        """Whichever copy of the job the second one holds, and whatever it says: the first one stands."""
        job = await held(ledger)
        first = await ledger.settle(job, settlement(), at=LATER)
        before = await ledger.counters("usage/alice")
        copies = {"as-held": job, "as-settled": first, "version-lost": make_job(job_id=job.job_id)}

        second = await ledger.settle(copies[again], settlement(microdollars=999), at=LATER)

        assert second == first
        assert await ledger.counters("usage/alice") == before

    async def test_racing_settlements_and_releases_count_once(self, ledger: Ledger) -> None:
        """The answer, the sweeper and a cancel may come at the same moment."""
        job = await held(ledger)
        endings = [settlement(), Settlement.release("cancelled"), Settlement.in_full(job, JobState.EXPIRED, "lost")]

        done = await asyncio.gather(*(ledger.settle(job, ending, at=LATER) for ending in endings * 7))

        counters = nonzero(await ledger.counters("usage/alice"))
        assert len({(one.state, one.settled_microdollars) for one in done}) == 1
        assert ("in_flight",) not in counters
        assert counters.get((*DAY, "microdollars"), 0) == done[0].settled_microdollars

    async def test_settling_an_unknown_job_is_not_found(self, ledger: Ledger) -> None:
        """It names nothing that could be settled, and moves nothing."""
        with pytest.raises(JobNotFoundError):
            await ledger.settle(make_job(), settlement(), at=LATER)

        assert nonzero(await ledger.counters("usage/alice")) == {}

    async def test_a_job_is_settled_in_the_day_that_held_it(self, ledger: Ledger) -> None:
        """A job over midnight must not leave its hold in yesterday's counter."""
        job = await held(ledger)

        await ledger.settle(job, settlement(), at=NOON + timedelta(days=1))

        assert (await ledger.counters("usage/alice"))[*DAY, "microdollars"] == 120

    async def test_expired_lists_only_held_jobs_whose_time_has_passed(self, ledger: Ledger) -> None:
        """The sweeper must never see a job that may still end by itself."""
        stale = await held(ledger, expires_at=NOON + timedelta(seconds=10))
        older = await held(ledger, expires_at=NOON + timedelta(seconds=5))
        await held(ledger, expires_at=LATER + timedelta(microseconds=1))
        done = await held(ledger, expires_at=NOON)
        await ledger.settle(done, settlement(), at=NOON)

        assert [job.job_id for job in await ledger.expired(now=LATER)] == [older.job_id, stale.job_id]
        assert len(await ledger.expired(now=LATER, limit=1)) == 1

    async def test_jobs_come_newest_first_for_one_caller_or_all(self, ledger: Ledger) -> None:
        """As an owner wants to read them."""
        mine = [await held(ledger, held_at=NOON + timedelta(seconds=n)) for n in range(3)]
        other = await held(ledger, caller="bob", held_at=NOON + timedelta(seconds=9))

        newest_first = [job.job_id for job in reversed(mine)]
        assert [job.job_id for job in await ledger.jobs(caller="alice")] == newest_first
        assert [job.job_id for job in await ledger.jobs(limit=2)] == [other.job_id, newest_first[0]]

    async def test_jobs_of_a_span_are_those_held_in_it(self, ledger: Ledger) -> None:
        """An hour's jobs are the hour's, so that two hours beside each other share none and miss none."""
        held_jobs = [await held(ledger, held_at=NOON + timedelta(minutes=30 * n)) for n in range(4)]
        await held(ledger, caller="bob", held_at=NOON + timedelta(minutes=30))
        hour = timedelta(hours=1)

        first = await ledger.jobs(caller="alice", since=NOON, until=NOON + hour)
        second = await ledger.jobs(since=NOON + hour, until=NOON + 2 * hour)
        assert [job.job_id for job in first] == [held_jobs[1].job_id, held_jobs[0].job_id]
        assert [job.job_id for job in second] == [held_jobs[3].job_id, held_jobs[2].job_id]
        assert len(await ledger.jobs(since=NOON)) == 5

    async def test_accounts_lists_the_callers_seen_so_far(self, ledger: Ledger) -> None:
        """`twohop usage` goes through these."""
        for caller in ("bob", "alice"):
            await held(ledger, caller=caller)

        assert await ledger.accounts("usage/") == ["usage/alice", "usage/bob"]
        assert await ledger.counters("usage/nobody") == {}

    async def test_a_caller_named_like_a_field_path_stays_one_caller(self, ledger: Ledger) -> None:
        """A uid may hold dots, spaces and quotes; its counters are its own."""
        uid = "we.ird `uid` with 'quotes'"
        job = await held(ledger, caller=uid)

        assert (await ledger.counters(f"usage/{uid}"))["in_flight",] == 1
        assert [one.job_id for one in await ledger.jobs(caller=uid)] == [job.job_id]


class DocumentsContract:
    """Inherit it and give a fixture `documents`, empty at the start of each test."""

    async def test_a_document_is_read_as_it_was_written(self, documents: Documents) -> None:
        """Numbers stay numbers, lists stay lists."""
        document = {"burst": 3, "models": ["*"], "overrides": {"requests_per_day": 7}, "disabled": False}
        await documents.write("plans/free", document)

        read = await documents.read("plans/free")
        assert read is not None
        assert {name: read[name] for name in document} == document

    async def test_writing_replaces_the_whole_document(self, documents: Documents) -> None:
        """A field that was taken out does not linger."""
        await documents.write("users/alice", {"plan": "pro", "disabled": True})
        await documents.write("users/alice", {"plan": "free"})

        read = await documents.read("users/alice")
        assert read is not None
        assert "disabled" not in read

    async def test_a_document_that_is_not_there_is_none(self, documents: Documents) -> None:
        """Asking is no error."""
        assert await documents.read("plans/none") is None

    async def test_a_swap_replaces_only_what_is_still_there(self, documents: Documents) -> None:
        """An edit in the console that came in between is not overwritten by what was decided before it."""
        first, second = {"state": "armed", "text": "a"}, {"state": "warned"}

        assert not await documents.swap("alerts/day", old=first, new=second)
        assert await documents.swap("alerts/day", old=None, new=first)
        assert not await documents.swap("alerts/day", old=None, new=second)
        assert await documents.swap("alerts/day", old=first, new=second)
        assert not await documents.swap("alerts/day", old=first, new=second)

        read = await documents.read("alerts/day")
        assert read is not None
        assert read["state"] == "warned"
        assert "text" not in read

    async def test_of_racing_swaps_one_is_done(self, documents: Documents) -> None:
        """Two watchdogs that see the same thing send one message."""
        await documents.write("alerts/day", {"state": "armed"})
        old = await documents.read("alerts/day")

        new = [{"state": "warned", "mark": number} for number in range(20)]
        done = await asyncio.gather(*(documents.swap("alerts/day", old=old, new=one) for one in new))

        read = await documents.read("alerts/day")
        assert read is not None
        assert [one["mark"] for one, was_done in zip(new, done, strict=True) if was_done] == [read["mark"]]

    async def test_a_collection_is_given_by_name(self, documents: Documents) -> None:
        """And nothing of its neighbours."""
        await documents.write("plans/free", {"burst": 1})
        await documents.write("plans/pro", {"burst": 2})
        await documents.write("users/pro", {"plan": "pro"})

        plans = await documents.collection("plans")
        assert sorted(plans) == ["free", "pro"]
        assert plans["pro"]["burst"] == 2
