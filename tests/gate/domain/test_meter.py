"""What a hold moves, what the sums decide, and that nothing is lost or made on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.domain import meter
from gate.domain.job import Job, JobState, Settlement
from gate.domain.meter import Denial, Key, LimitName, Move, Remaining
from gate.domain.plan import GateConfig, Plan
from tests.makers import GENEROUS, NOON, OPEN_CONFIG, make_config, make_job, make_moves, make_plan

DAY, MONTH = ("days", "2026-11-21"), ("months", "2026-11")
MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
USAGE, BUDGET = "usage/alice", "budget/0"
RATE, IN_FLIGHT = ("rate_tat_us",), ("in_flight",)


class Book:
    """The plainest ledger: a dictionary that applies moves as the port says, and keeps a denied hold's back."""

    def __init__(self, sums: Mapping[Key, int] | None = None) -> None:
        self.sums = dict(sums or {})

    def apply(self, moves: Sequence[Move]) -> dict[Key, int]:
        for move in moves:
            value = self.sums.get(move.key, 0)
            if move.at_most is not None:
                self.sums[move.key] = min(move.at_most, self.sums.get(move.key, move.at_most))
                continue
            lifted = value if move.at_least is None else max(value, move.at_least)
            self.sums[move.key] = lifted + move.amount
        return {move.key: self.sums[move.key] for move in moves}

    def hold(self, job: Job, plan: Plan = GENEROUS, config: GateConfig = OPEN_CONFIG) -> Denial | None:
        moves = meter.moves_to_hold(job, plan, config)
        denial = meter.decide(moves, self.apply(moves), now=job.held_at)
        if denial:
            self.apply(meter.moves_to_put_back(moves))
        return denial

    def settle(self, job: Job, settlement: Settlement) -> None:
        self.apply(meter.moves_to_settle(job, settlement))


def denied(book: Book, plan: Plan, config: GateConfig = OPEN_CONFIG, **changes: Any) -> Denial:
    denial = book.hold(make_job(plan=plan, **changes), plan, config)
    assert denial is not None
    return denial


def reference_gcra(arrivals: Sequence[int], emission: int, burst: int) -> list[bool]:
    """The virtual scheduling algorithm of ITU-T I.371, word by word: a cell comes early by at most the tolerance.

    The theoretical arrival time of the next cell moves on only for a cell that conforms.
    """
    tolerance, theoretical, conforming = (burst - 1) * emission, 0, []
    for at in arrivals:
        conforms = at >= theoretical - tolerance
        conforming.append(conforms)
        if conforms:
            theoretical = max(at, theoretical) + emission
    return conforming


_gaps = st.lists(st.integers(0, 5_000_000), min_size=1, max_size=60)


@given(_gaps, st.integers(6, 600), st.integers(1, 10))
def test_the_rate_limit_admits_exactly_what_the_standard_does(gaps: list[int], per_minute: int, burst: int) -> None:
    """To the microsecond, denials in between included."""
    plan, book = make_plan(requests_per_minute=per_minute, burst=burst), Book()
    start, arrivals = meter.to_microseconds(NOON), []
    for gap in gaps:
        start += gap
        arrivals.append(start)

    admitted = [book.hold(make_job(plan=plan, held_at=meter.from_microseconds(at)), plan) is None for at in arrivals]

    assert admitted == reference_gcra(arrivals, plan.emission_us, burst)


@given(_gaps, st.integers(6, 600), st.integers(1, 10))
def test_no_window_ever_holds_more_than_the_burst_and_the_rate(gaps: list[int], per_minute: int, burst: int) -> None:
    """In any stretch of time: the burst, and one more for each emission interval of it."""
    plan, book = make_plan(requests_per_minute=per_minute, burst=burst), Book()
    at, admitted = meter.to_microseconds(NOON), []
    for gap in gaps:
        at += gap
        if book.hold(make_job(plan=plan, held_at=meter.from_microseconds(at)), plan) is None:
            admitted.append(at)

    for first, start in enumerate(admitted):
        for count, end in enumerate(admitted[first:], start=1):
            assert count <= burst + (end - start) // plan.emission_us


@given(_gaps, st.integers(6, 600), st.integers(1, 5))
def test_a_rate_denial_names_the_first_microsecond_that_is_admitted(
    gaps: list[int], per_minute: int, burst: int
) -> None:
    """Who waits so long gets in, and who waits a microsecond less does not."""
    plan, book, now = make_plan(requests_per_minute=per_minute, burst=burst), Book(), NOON
    for gap in gaps:
        now += timedelta(microseconds=gap)
        book.hold(make_job(plan=plan, held_at=now), plan)
    denial = None
    while denial is None:
        denial = book.hold(make_job(plan=plan, held_at=now), plan)

    early = denial.retry_at - timedelta(microseconds=1)

    assert denial.limit.name is LimitName.REQUESTS_PER_MINUTE
    assert Book(book.sums).hold(make_job(plan=plan, held_at=early), plan) is not None
    assert Book(book.sums).hold(make_job(plan=plan, held_at=denial.retry_at), plan) is None


@pytest.mark.parametrize(
    ("limits", "name", "retry_at"),
    [
        pytest.param({"requests_per_day": 0}, LimitName.REQUESTS_PER_DAY, MIDNIGHT, id="day"),
        pytest.param({"requests_per_month": 0}, LimitName.REQUESTS_PER_MONTH, DECEMBER, id="month"),
        pytest.param({"concurrency": 0}, LimitName.CONCURRENCY, NOON + timedelta(seconds=1), id="concurrency"),
        pytest.param({"gpu_seconds_per_day": 29}, LimitName.GPU_SECONDS_PER_DAY, MIDNIGHT, id="gpu-seconds"),
        pytest.param({"microdollars_per_day": 999}, LimitName.MICRODOLLARS_PER_DAY, MIDNIGHT, id="dollars-day"),
        pytest.param({"microdollars_per_month": 999}, LimitName.MICRODOLLARS_PER_MONTH, DECEMBER, id="dollars-month"),
        pytest.param(
            {"requests_per_day": 0, "requests_per_month": 0, "concurrency": 0},
            LimitName.REQUESTS_PER_MONTH,
            DECEMBER,
            id="the-one-that-takes-longest",
        ),
    ],
)
def test_a_denial_names_the_limit_and_when_it_comes_free(
    limits: dict[str, int], name: LimitName, retry_at: datetime
) -> None:
    """Of several, the one that takes longest: coming back for another would be in vain."""
    denial = denied(Book(), make_plan(**limits))

    assert (denial.limit.name, denial.retry_at) == (name, retry_at)


@pytest.mark.parametrize(
    ("budget", "name", "retry_at"),
    [
        pytest.param({"budget_microdollars_per_day": 999}, LimitName.BUDGET_PER_DAY, MIDNIGHT, id="day"),
        pytest.param({"budget_microdollars_per_month": 999}, LimitName.BUDGET_PER_MONTH, DECEMBER, id="month"),
        pytest.param({"budget_microdollars_per_day": 0}, LimitName.BUDGET_PER_DAY, MIDNIGHT, id="none"),
    ],
)
def test_the_owners_budget_denies_too(budget: dict[str, int], name: LimitName, retry_at: datetime) -> None:
    """Whatever the caller's own plan says."""
    denial = denied(Book(), GENEROUS, make_config(**budget))

    assert (denial.limit.name, denial.retry_at) == (name, retry_at)
    assert denial.limit.name.is_budget


@pytest.mark.parametrize("limit", ["requests_per_day", "microdollars_per_day", "gpu_seconds_per_day"])
def test_while_another_job_is_in_flight_a_denial_lasts_a_second(limit: str) -> None:
    """It may settle below its hold at any moment, so remembering the denial until midnight would be wrong."""
    values = {"requests_per_day": 1, "microdollars_per_day": 1_000, "gpu_seconds_per_day": 30}
    plan, book = make_plan(**{limit: values[limit]}), Book()
    assert book.hold(make_job(plan=plan), plan) is None

    assert denied(book, plan).retry_at == NOON + timedelta(seconds=1)


def test_with_no_other_job_in_flight_a_denial_lasts_to_the_end_of_the_period() -> None:
    """Nothing comes free before, and a flood of calls can be refused from memory."""
    plan, book, job = make_plan(requests_per_day=1), Book(), make_job()
    book.hold(job, plan)
    book.settle(job, Settlement.in_full(job, JobState.SETTLED, ""))

    assert denied(book, plan).retry_at == MIDNIGHT


def test_anothers_job_in_flight_shortens_no_denial_of_mine() -> None:
    """Only jobs on the same account can free it."""
    plan, book = make_plan(requests_per_day=0), Book()
    book.hold(make_job(caller="bob"))

    assert denied(book, plan).retry_at == MIDNIGHT


def test_a_used_up_shard_with_jobs_in_flight_is_asked_again_in_a_second() -> None:
    """What one of them does not use is there for the next."""
    book, config = Book(), make_config(budget_microdollars_per_day=1_000)
    book.hold(make_job(caller="bob"), config=config)

    assert denied(book, GENEROUS, config).retry_at == NOON + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("at", "day", "month", "day_ends", "month_ends"),
    [
        pytest.param(
            "2026-12-31T23:59:59.999999", "2026-12-31", "2026-12", "2027-01-01", "2027-01-01", id="new-year"
        ),
        pytest.param("2026-12-01T00:00:00", "2026-12-01", "2026-12", "2026-12-02", "2027-01-01", id="december"),
        pytest.param(
            "2028-02-28T12:00:00", "2028-02-28", "2028-02", "2028-02-29", "2028-03-01", id="before-leap-day"
        ),
        pytest.param("2028-02-29T23:00:00", "2028-02-29", "2028-02", "2028-03-01", "2028-03-01", id="leap-day"),
        pytest.param("2026-02-28T23:00:00", "2026-02-28", "2026-02", "2026-03-01", "2026-03-01", id="no-leap-year"),
        pytest.param("2026-01-31T01:00:00", "2026-01-31", "2026-01", "2026-02-01", "2026-02-01", id="january-31"),
        pytest.param("2026-01-01T00:00:00", "2026-01-01", "2026-01", "2026-01-02", "2026-02-01", id="january-1"),
        pytest.param(
            "2027-08-31T00:00:00", "2027-08-31", "2027-08", "2027-09-01", "2027-09-01", id="midnight-itself"
        ),
    ],
)
def test_a_job_counts_in_the_day_and_month_of_its_hold(
    at: str, day: str, month: str, day_ends: str, month_ends: str
) -> None:
    """In UTC, and each counter says when it starts anew."""
    moves = make_moves(make_job(held_at=datetime.fromisoformat(at).replace(tzinfo=UTC)))

    counters = {move.counter: move.limit for move in moves if move.account == USAGE}
    day_limit, month_limit = counters["days", day, "requests"], counters["months", month, "requests"]
    assert day_limit
    assert month_limit
    assert day_limit.resets_at == datetime.fromisoformat(day_ends).replace(tzinfo=UTC)
    assert month_limit.resets_at == datetime.fromisoformat(month_ends).replace(tzinfo=UTC)


@given(st.integers(0, 10**9).map(lambda seconds: NOON + timedelta(seconds=seconds)))
def test_a_period_ends_when_the_next_one_begins(at: datetime) -> None:
    """At the named time, and not a microsecond earlier, the counters are new ones."""
    moves = [move for move in make_moves(make_job(held_at=at)) if move.limit and move.limit.resets_at]

    for move in moves:
        assert move.limit
        assert move.limit.resets_at
        last, first = move.limit.resets_at - timedelta(microseconds=1), move.limit.resets_at
        assert at <= last
        assert move.key in {other.key for other in make_moves(make_job(held_at=last))}
        assert move.key not in {other.key for other in make_moves(make_job(held_at=first))}


def test_a_job_over_midnight_is_settled_where_it_was_held() -> None:
    """Else its hold would stay in yesterday's counter for ever."""
    job = make_job(held_at=datetime(2026, 12, 31, 23, 59, tzinfo=UTC))

    held = {move.key for move in make_moves(job)}
    settled = {move.key for move in meter.moves_to_settle(job, Settlement.release("no"))}

    assert settled == held - {(USAGE, RATE), (USAGE, meter.FIRST_SEEN)}


_endings = st.sampled_from(["settled", "settled-over-hold", "released", "expired", "denied-twin", "open"])
_jobs = st.lists(
    st.tuples(
        st.sampled_from(["alice", "bob"]),
        st.integers(0, 5_000),
        st.integers(0, 60_000),
        st.integers(0, 40),
        _endings,
    ),
    max_size=20,
)


def _settlement(job: Job, ending: str) -> Settlement:
    half: dict[str, Any] = {"microdollars": job.held_microdollars // 2, "gpu_ms": job.held_gpu_ms // 3}
    double: dict[str, Any] = {"microdollars": job.held_microdollars * 2, "gpu_ms": job.held_gpu_ms * 2}
    return {
        "settled": Settlement(state=JobState.SETTLED, **half),
        "settled-over-hold": Settlement(state=JobState.SETTLED, **double),
        "released": Settlement.release("never ran"),
        "expired": Settlement.in_full(job, JobState.EXPIRED, "lost"),
    }[ending]


@given(_jobs, st.randoms(use_true_random=False))
def test_every_counter_is_the_sum_over_its_jobs(rows: list[tuple[Any, ...]], shuffler: Any) -> None:
    """Whatever ends how, in whatever order: money, GPU time, requests and jobs in flight are conserved."""
    book, expected = Book(), Counter[Key]()
    at, held = NOON, []
    for caller, microdollars, gpu_ms, hours, ending in rows:
        at += timedelta(hours=hours * 7)
        job = make_job(caller=caller, held_microdollars=microdollars, held_gpu_ms=gpu_ms, held_at=at)
        if ending == "denied-twin":
            assert book.hold(job, make_plan(requests_per_day=0)) is not None
            continue
        assert book.hold(job) is None
        held.append((job, ending))
    shuffler.shuffle(held)

    for job, ending in held:
        settlement = Settlement.in_full(job, JobState.SETTLED, "") if ending == "open" else _settlement(job, ending)
        if ending != "open":
            book.settle(job, settlement)
        usage, budget = f"usage/{job.caller}", f"budget/{job.shard}"
        day, month = ("days", f"{job.held_at:%Y-%m-%d}"), ("months", f"{job.held_at:%Y-%m}")
        expected[usage, IN_FLIGHT] += ending == "open"
        expected[budget, IN_FLIGHT] += ending == "open"
        expected[usage, (*day, "gpu_ms")] += settlement.gpu_ms
        for one in (day, month):
            expected[usage, (*one, "requests")] += ending != "released"
        periods: list[tuple[str, ...]] = [(*day, "hours", f"{job.held_at:%H}"), day, month]
        for period in periods:
            expected[usage, (*period, "microdollars")] += settlement.microdollars
            expected[budget, (*period, "microdollars")] += settlement.microdollars
            expected[budget, (*period, "cohort_microdollars", "verified")] += settlement.microdollars
            expected[budget, (*period, "model_microdollars", job.model)] += settlement.microdollars

    counted = {key: value for key, value in book.sums.items() if value and key[1] not in (RATE, meter.FIRST_SEEN)}
    assert counted == {key: value for key, value in expected.items() if value}


_tight = st.builds(
    make_plan,
    requests_per_day=st.integers(0, 5),
    requests_per_month=st.integers(0, 8),
    concurrency=st.integers(0, 4),
    gpu_seconds_per_day=st.integers(0, 200),
    microdollars_per_day=st.integers(0, 6_000),
    microdollars_per_month=st.integers(0, 9_000),
)
_tight_config = st.builds(
    make_config,
    budget_microdollars_per_day=st.integers(0, 20_000),
    budget_microdollars_per_month=st.integers(0, 30_000),
    budget_shards=st.integers(1, 3),
)
_steps = st.lists(
    st.tuples(st.integers(0, 2_000), st.integers(0, 60_000), st.integers(0, 2), st.integers(0, 10), st.booleans()),
    max_size=30,
)


@given(_tight, _tight_config, _steps)
def test_no_sum_ever_exceeds_its_ceiling(
    plan: Plan, config: GateConfig, steps: list[tuple[int, int, int, int, bool]]
) -> None:
    """After any run of holds, some denied, some settled at less: used and held together are within every limit."""
    book, now = Book(), NOON
    for microdollars, gpu_ms, number, hours, ends in steps:
        now += timedelta(hours=hours)
        shard = number % config.budget_shards
        job = make_job(held_microdollars=microdollars, held_gpu_ms=gpu_ms, shard=shard, held_at=now)
        admitted = book.hold(job, plan, config) is None
        if admitted and ends:
            book.settle(job, _settlement(job, "settled"))

        for move in meter.moves_to_hold(job, plan, config):
            if move.limit and move.counter != RATE:
                assert book.sums.get(move.key, 0) <= move.limit.ceiling
        spent = sum(book.sums.get((f"budget/{n}", ("days", f"{now:%Y-%m-%d}", "microdollars")), 0) for n in range(3))
        assert spent <= config.budget_microdollars_per_day


@given(_tight, _tight_config, st.integers(0, 2_000))
def test_a_denied_hold_that_is_put_back_leaves_no_trace(plan: Plan, config: GateConfig, microdollars: int) -> None:
    """But two times, which say no more than that it is now."""
    job = make_job(held_microdollars=microdollars)
    book, moves = Book(), meter.moves_to_hold(job, plan, config)

    book.apply(moves)
    book.apply(meter.moves_to_put_back(moves))

    left = {key: value for key, value in book.sums.items() if value}
    assert left == dict.fromkeys([(USAGE, RATE), (USAGE, meter.FIRST_SEEN)], meter.to_microseconds(NOON))


def remaining_of(plan: Plan, sums: Mapping[Key, int], now: datetime = NOON) -> dict[LimitName, Remaining]:
    counters = {counter: value for (account, counter), value in sums.items() if account == USAGE}
    rows = meter.remaining(plan, counters, now=now)
    return {row.name: row for row in rows}


def test_a_fresh_account_has_the_whole_of_each_limit_left() -> None:
    """What the plan says is what a newcomer sees; of the rate, that is the burst that may come at once."""
    rows = remaining_of(GENEROUS, {})

    rate = rows.pop(LimitName.REQUESTS_PER_MINUTE)
    assert {row.name: row.remaining for row in rows.values()} == {row.name: row.limit for row in rows.values()}
    assert (rate.limit, rate.remaining) == (GENEROUS.requests_per_minute, GENEROUS.burst)
    own = {name for name in LimitName if not name.is_budget and not name.is_token} - {LimitName.AGE}
    assert set(rows) | {rate.name, LimitName.MICRODOLLARS_PER_HOUR} == own


def test_each_limit_is_told_in_the_plans_own_unit() -> None:
    """GPU time is counted in milliseconds and limited in seconds: 30 s held of 100 leave 70."""
    book, plan = Book(), make_plan(gpu_seconds_per_day=100, requests_per_day=10, concurrency=3)
    book.hold(make_job(held_gpu_ms=29_001), plan)

    rows = remaining_of(plan, book.sums)

    assert rows[LimitName.GPU_SECONDS_PER_DAY].remaining == 70
    assert rows[LimitName.REQUESTS_PER_DAY].remaining == 9
    assert rows[LimitName.CONCURRENCY].remaining == 2


def test_the_rate_refills_as_time_passes() -> None:
    """One request for each emission interval, up to the burst."""
    book, plan = Book(), make_plan(requests_per_minute=60, burst=3)
    for _ in range(3):
        book.hold(make_job(plan=plan), plan)

    left = [
        remaining_of(plan, book.sums, NOON + timedelta(milliseconds=ms))[LimitName.REQUESTS_PER_MINUTE].remaining
        for ms in (0, 999, 1_000, 2_500, 3_000, 60_000)
    ]

    assert left == [0, 0, 1, 2, 3, 3]


@given(
    _tight,
    st.dictionaries(
        st.sampled_from([(USAGE, move.counter) for move in make_moves(make_job()) if move.account == USAGE]),
        st.integers(-(10**6), 10**13),
    ),
)
def test_what_is_left_is_never_negative(plan: Plan, sums: dict[Key, int]) -> None:
    """Not after a limit was lowered below what is used, nor when a job took more than its hold."""
    assert all(row.remaining >= 0 for row in remaining_of(plan, sums).values())


@given(st.timedeltas(timedelta(days=-20_000), timedelta(days=90_000)).map(lambda since: NOON + since))
def test_a_time_survives_being_counted_in_microseconds(at: datetime) -> None:
    """Exactly, with no floating point on the way."""
    assert meter.from_microseconds(meter.to_microseconds(at)) == at


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
