"""Shards lend to each other: never more than there is, to the last micro-dollar that there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gate.domain import lending, meter
from gate.domain.job import JobState, Settlement
from gate.domain.meter import Move
from gate.domain.plan import Budget, Cohort, GateConfig
from tests.makers import GENEROUS, NOON, make_config, make_job, make_plan

DAY = ("days", "2026-11-21", "microdollars")
ANONYMOUS = ("days", "2026-11-21", "cohort_microdollars", "anonymous")


class Book:
    """Shards as plain dictionaries, with admission as the gate does it, one step at a time."""

    def __init__(self) -> None:
        self.shards: dict[str, dict[tuple[str, ...], int]] = {}
        self.held: list[Any] = []

    def apply(self, moves: Sequence[Move]) -> None:
        for move in moves:
            if move.account.startswith("budget/"):
                counters = self.shards.setdefault(move.account, {})
                counters[move.counter] = counters.get(move.counter, 0) + move.amount

    def try_to_hold(self, job: Any, config: GateConfig) -> bool:
        moves = meter.moves_to_hold(job, GENEROUS, config)
        self.apply(moves)
        fits = all(
            self.shards[move.account][move.counter] <= move.limit.ceiling
            for move in moves
            if move.limit and move.limit.name.is_budget
        )
        if not fits:
            self.apply(meter.moves_to_put_back(moves))
        return fits

    def hold(self, job: Any, config: GateConfig) -> bool:
        """Hold a job, borrowing if need be."""
        if not self.try_to_hold(job, config):
            moves = meter.moves_to_hold(job, GENEROUS, config)
            self.apply(lending.moves_to_lend(moves, self.shards))
            if not self.try_to_hold(job, config):
                return False
        self.held.append(job)
        return True

    def settle(self, microdollars: int, **changes: Any) -> None:
        job = self.held.pop(0)
        settlement = Settlement(state=JobState.SETTLED, microdollars=microdollars, gpu_ms=1, **changes)
        self.apply(meter.moves_to_settle(job, settlement))

    def spent(self, counter: tuple[str, ...] = DAY) -> int:
        return lending.spent(counter, self.shards)


_jobs = st.lists(
    st.tuples(st.sampled_from(["anonymous", "verified"]), st.integers(1, 900), st.integers(0, 7), st.integers(0, 3)),
    max_size=40,
)


@given(_jobs, st.integers(0, 5_000), st.integers(0, 2_000))
def test_a_job_is_refused_only_when_all_shards_together_have_not_enough(
    rows: list[tuple[str, int, int, int]], budget: int, anonymous: int
) -> None:
    """Exactly as one single counter would decide, whichever shard each job falls on; and never over."""
    config = make_config(
        budget_microdollars_per_day=budget,
        cohort_budgets={Cohort.ANONYMOUS: Budget(microdollars_per_day=anonymous)},
    )
    book = Book()
    for cohort, amount, shard, ends in rows:
        fits = book.spent() + amount <= budget
        fits &= cohort != "anonymous" or book.spent(ANONYMOUS) + amount <= anonymous
        job = make_job(cohort=cohort, held_microdollars=amount, shard=shard)

        assert book.hold(job, config) is fits

        assert book.spent() <= budget
        assert book.spent(ANONYMOUS) <= anonymous
        if ends == 0 and book.held:
            book.settle(microdollars=book.held[0].held_microdollars // 2)


@given(
    st.lists(
        st.tuples(st.integers(1, 900), st.integers(1, 8), st.integers(0, 5_000), st.integers(0, 99)), max_size=30
    )
)
def test_whatever_is_changed_in_a_running_day_it_never_exceeds_its_budget(
    steps: list[tuple[int, int, int, int]],
) -> None:
    """The number of shards may change at any moment; a budget that changes is followed by settling the loans."""
    book, highest, before = Book(), 0, None
    for amount, shards, budget, number in steps:
        config = make_config(budget_microdollars_per_day=budget, budget_shards=shards)
        if before != budget:
            book.apply(lending.moves_to_settle_loans(meter.budgets_of(config, now=NOON), book.shards))
        before, spent = budget, book.spent()

        admitted = book.hold(make_job(held_microdollars=amount, shard=number % shards), config)

        assert admitted is (spent + amount <= budget)
        highest = max(highest, budget)
        assert book.spent() <= highest


@given(_jobs, st.integers(0, 3_000))
def test_a_budget_that_a_cohort_gets_in_the_middle_of_a_day_counts_what_it_spent_before(
    rows: list[tuple[str, int, int, int]], anonymous: int
) -> None:
    """All scopes are counted from the beginning, on whichever shard."""
    book = Book()
    for cohort, amount, shard, _ in rows:
        book.hold(make_job(cohort=cohort, held_microdollars=amount, shard=shard), make_config())
    config = make_config(cohort_budgets={Cohort.ANONYMOUS: Budget(microdollars_per_day=anonymous)})
    spent = book.spent(ANONYMOUS)

    book.apply(lending.moves_to_settle_loans(meter.budgets_of(config, now=NOON), book.shards))

    assert book.spent(ANONYMOUS) == spent
    for shard in range(8):
        job = make_job(cohort="anonymous", held_microdollars=700, shard=shard)
        fits = book.spent(ANONYMOUS) + 700 <= anonymous
        assert book.hold(job, config) is fits


@given(_jobs, st.integers(0, 9), st.integers(0, 9))
def test_lending_moves_nothing_in_sum(rows: list[tuple[str, int, int, int]], shard: int, amount: int) -> None:
    """So the sum over all shards is what was spent, whatever was lent."""
    book, config = Book(), make_config(budget_microdollars_per_day=6_000)
    for cohort, held, number, _ in rows:
        book.hold(make_job(cohort=cohort, held_microdollars=held, shard=number), config)
    before = book.spent()

    needs = meter.moves_to_hold(make_job(held_microdollars=100 * amount, shard=shard), GENEROUS, config)
    book.apply(lending.moves_to_lend(needs, book.shards))

    assert book.spent() == before
    assert {counters.get(DAY, 0) for account, counters in book.shards.items() if account != "budget/0"} <= set(
        range(-6_000, 1)
    )


def test_a_loan_is_half_of_what_the_lender_has() -> None:
    """So that the next jobs of that shard need not borrow."""
    needs = meter.moves_to_hold(make_job(shard=3), make_plan(), make_config(budget_microdollars_per_day=100_000))

    moves = {(move.account, move.amount) for move in lending.moves_to_lend(needs, {}) if move.counter == DAY}

    assert moves == {("budget/0", 50_000), ("budget/3", -50_000)}


def test_a_job_above_its_hold_is_a_debt_of_all_shards() -> None:
    """What it took too much is missing to the others, once the loans are settled."""
    book, config = Book(), make_config(budget_microdollars_per_day=3_000)
    book.hold(make_job(shard=2), config)
    book.settle(microdollars=2_500)

    book.apply(lending.moves_to_settle_loans(meter.budgets_of(config, now=NOON), book.shards))

    assert not book.hold(make_job(shard=0), config)
    assert book.hold(make_job(shard=1, held_microdollars=500), config)
    assert book.spent() == 3_000
