"""A job's id and its ends."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from gate.domain.job import JobState, Settlement, job_id_for
from tests.makers import NOON, make_job

_texts = st.text(max_size=20)


@given(_texts, _texts, _texts, _texts)
def test_two_callers_or_two_keys_never_share_a_job(caller: str, key: str, other_caller: str, other_key: str) -> None:
    """Else one caller could read another's answer by guessing a key."""
    same = (caller, key) == (other_caller, other_key)

    assert (job_id_for(caller, key) == job_id_for(other_caller, other_key)) is same


@given(st.text(st.characters(categories=["Cs", "Ll"]), max_size=5))
@example("\ud800")
def test_any_text_is_a_key(key: str) -> None:
    """Lone surrogates too: a client's odd key must not become our error."""
    assert job_id_for("alice", key) == job_id_for("alice", key)


def test_a_key_cannot_bleed_into_the_caller() -> None:
    """`a` with `b:c` is not `a:b` with `c`."""
    assert job_id_for("a", "b:c") != job_id_for("a:b", "c")


def test_a_release_costs_nothing() -> None:
    """It never ran."""
    job = make_job()

    done = job.settled(Settlement.release("no worker"), at=NOON)

    assert (done.state, done.settled_microdollars, done.spent) == (JobState.RELEASED, 0, None)


def test_settling_in_full_costs_the_hold() -> None:
    """Nobody knows better."""
    job = make_job(held_microdollars=777, held_gpu_ms=42)

    settlement = Settlement.in_full(job, JobState.EXPIRED, "lost")

    assert (settlement.microdollars, settlement.gpu_ms) == (777, 42)


def test_only_held_and_running_are_not_final() -> None:
    """Everything else is the end."""
    assert [state for state in JobState if not state.final] == [JobState.HELD, JobState.RUNNING]
