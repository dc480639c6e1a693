"""The ledger, a line a job; and the sweep that ends those nobody finished."""

from __future__ import annotations

from datetime import timedelta

from gate.domain.job import JobState, Settlement
from gate.money import Spent
from tests.cli.conftest import Operator, job_of
from tests.makers import NOON

SETTLED = Settlement(
    state=JobState.SETTLED, microdollars=1_234, gpu_ms=1_500, spent=Spent(execution_ms=1_500), result="[1]"
)


def test_a_line_a_job_newest_first_with_totals(anywhere: Operator) -> None:
    """Held, settled and released, each with its money and GPU time."""
    anywhere.holds(job_of("alice", held_at=NOON - timedelta(minutes=2)), SETTLED)
    anywhere.holds(job_of("bob", held_at=NOON - timedelta(minutes=1)), Settlement.release("not reached"))
    anywhere.holds(job_of("carol", held_at=NOON))

    rows = [line.split() for line in anywhere.types("jobs").stdout.splitlines()]

    assert ["12:00:00", "0s", "carol", "held", "10,000", "-", "60.0"] in rows
    assert ["11:59:00", "1m", "bob", "released", "10,000", "0", "0.0"] in rows
    assert ["11:58:00", "2m", "alice", "settled", "10,000", "1,234", "1.5"] in rows
    assert ["3", "jobs", "30,000", "1,234", "61.5"] in rows
    assert [row[2] for row in rows if row[-1] in ("60.0", "0.0", "1.5")] == ["carol", "bob", "alice"]


def test_one_callers_jobs_say_how_they_failed(anywhere: Operator) -> None:
    """And nobody else's are among them."""
    anywhere.holds(job_of("alice"), Settlement.release("not reached"))
    anywhere.holds(job_of("bob"), SETTLED)

    shown = anywhere.types("jobs alice").stdout

    assert "unavailable" in shown
    assert "1 job " in shown
    assert "bob" not in shown


def test_json_keeps_a_callers_answer_to_themselves(anywhere: Operator) -> None:
    """The operator sees what was spent, not what was asked or answered."""
    anywhere.holds(job_of("alice"), SETTLED)

    (job,) = anywhere.reads("jobs")

    assert (job["caller"], job["state"], job["settled_microdollars"]) == ("alice", "settled", 1_234)
    assert not {"result", "payload_digest", "attempt"} & set(job)


def test_a_limit_says_that_there_is_more(operator: Operator) -> None:
    """Or the totals would be taken for all."""
    for _ in range(3):
        operator.holds(job_of("alice"))

    result = operator.types("jobs --limit 2")

    assert "2 jobs" in result.stdout
    assert "--limit 20" in result.stderr


def test_several_models_have_a_column_of_their_own(operator: Operator) -> None:
    """One model is said once, below."""
    operator.holds(job_of("alice", model="small"))
    one = operator.types("jobs").stdout
    operator.holds(job_of("alice", model="large"))

    assert "model small" in one
    assert "model" in operator.types("jobs").stdout.splitlines()[0]


def test_sweeping_twice_settles_once(anywhere: Operator) -> None:
    """A hold past its expiry is settled in full, because its job may have run."""
    anywhere.holds(job_of("alice"))
    early = anywhere.types("sweep")
    anywhere.clock.advance(minutes=6)

    first, second = anywhere.types("sweep"), anywhere.types("sweep")

    assert "nothing to sweep" in early.stdout
    assert ["1", "hold", "10,000"] in [line.split() for line in first.stdout.splitlines()]
    assert "nothing to sweep" in second.stdout
    assert anywhere.reads("usage alice")["in_flight"] == 0
