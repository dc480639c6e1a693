"""How a job's end becomes money and words: in doubt it pays the hold."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.domain.job import RESULT_BYTES_MAX, JobState, Settlement
from gate.errors import (
    ConflictError,
    GateError,
    InvalidRequestError,
    JobFailedError,
    ProviderError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from gate.money import Operations, Spent
from gate.provider import LifeUsage, ProviderJob, ProviderState, ProviderUsage
from gate.steps.outcome import (
    failure_again,
    failure_of,
    is_beyond_hold,
    kept_result,
    settlement_after,
    settlement_for,
)
from tests.gate.doubles import completed, failed, running
from tests.makers import NOON, make_job, make_model

MODEL = make_model()
JOB = make_job(held_microdollars=MODEL.worst_case_microdollars, held_gpu_ms=MODEL.worst_case_gpu_ms)


def settlement(ended: ProviderJob, wait_ms: int = 2_000) -> Settlement:
    return settlement_for(ended, JOB, MODEL.tariff, wait_ms=wait_ms)


def test_a_job_pays_what_it_took() -> None:
    """1.2 s + 0.8 s start + 5 s tail, and 2 s of hop 1 with a look at the job; `test_money` adds it up."""
    done = settlement(completed())

    assert (done.state, done.microdollars, done.gpu_ms) == (JobState.SETTLED, 1_178, 2_000)
    assert done.spent == Spent(execution_ms=1_200, start_ms=800, wait_ms=2_000, operations=Operations(reads=4))
    assert (done.failure_code, done.failure, done.result) == (None, None, None)


def told(*, share_ms: int, start_ms: int = 0, gap_ms: int = 0, before_ms: int = 0) -> ProviderJob:
    """A job whose worker measures its life."""
    life = LifeUsage(share_ms=share_ms, gap_ms=gap_ms, before_ms=before_ms)
    return completed(usage=ProviderUsage(execution_ms=9_999, start_ms=start_ms, life=life))


def test_the_job_that_caused_a_start_pays_it_and_the_tail_in_advance() -> None:
    """0.5 s gap + 1.2 s share + 0.8 s start + 5 s tail = 7.5 s, billed as 8 s x 160 000 = 1 280 000 n$."""
    done = settlement(told(share_ms=1_200, start_ms=800, gap_ms=500), wait_ms=0)

    assert done.spent == Spent(execution_ms=1_200, start_ms=800, idle_ms=5_500)
    assert done.microdollars == 1_280 + 7


def test_a_later_job_pays_its_share_and_the_gap_before_it() -> None:
    """The life of 7.5 s was billed as 8 s, one of 8.8 s is billed as 9 s: one more second of 160 micro-dollars."""
    done = settlement(told(share_ms=300, gap_ms=1_000, before_ms=2_500), wait_ms=0)

    assert done.spent == Spent(execution_ms=300, idle_ms=1_000, before_ms=7_500)
    assert done.microdollars == 160 + 7


def test_a_gap_above_the_idle_timeout_is_the_owners() -> None:
    """Only a worker that the owner keeps running can stand idle for so long."""
    spent = settlement(told(share_ms=300, gap_ms=3_600_000, before_ms=2_500)).spent

    assert spent is not None
    assert spent.idle_ms == MODEL.tariff.idle_ms


def test_where_the_worker_does_not_tell_its_start_a_job_pays_as_if_for_one() -> None:
    """Whether the delay was a start or a queue is not known; the ledger says too much, never too little."""
    done = settlement(completed(usage=ProviderUsage(execution_ms=1_200, delay_ms=90_000)))

    assert done.spent == Spent(execution_ms=1_200, start_ms=60_000, wait_ms=2_000, operations=Operations(reads=4))


@pytest.mark.parametrize(
    ("job", "operations"),
    [
        pytest.param({}, Operations(invocations=1, reads=3, writes=6), id="a-call"),
        pytest.param({"token_id": "abc"}, Operations(invocations=1, reads=3, writes=7), id="with-a-token"),
        pytest.param(
            {"state": JobState.RUNNING, "provider_job_id": "p-1"},
            Operations(invocations=2, reads=4, writes=7),
            id="handed-over",
        ),
        pytest.param(
            {"state": JobState.RUNNING, "provider_job_id": "p-1", "token_id": "abc"},
            Operations(invocations=2, reads=4, writes=8),
            id="both",
        ),
    ],
)
def test_a_job_pays_for_what_hop_1_does_for_it(job: dict[str, Any], operations: Operations) -> None:
    """A token's last use, and a job that outlives its call, are further writes; the hold covers all of them."""
    done = settlement_for(completed(), msgspec.structs.replace(JOB, **job), MODEL.tariff, wait_ms=0)

    assert done.spent is not None
    assert done.spent.operations == operations
    worst = MODEL.tariff.worst_case_microdollars(execution_ms_max=1_200, wait_ms_max=0)
    assert done.microdollars <= worst


_PARTS = st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 30_000)), min_size=1, max_size=50)


@given(parts=_PARTS, start_ms=st.integers(1, 60_000))
def test_the_jobs_of_a_worker_together_pay_its_bill(parts: list[tuple[int, int]], start_ms: int) -> None:
    """To the micro-dollar, after each job: as if the worker ended then, after its idle tail."""
    tariff, life_ms, paid = MODEL.tariff, 0, 0
    for number, (gap_ms, share_ms) in enumerate(parts):
        start = 0 if number else start_ms
        ended = told(share_ms=share_ms, start_ms=start, gap_ms=gap_ms, before_ms=life_ms)
        spent = settlement(ended).spent
        assert spent is not None
        life_ms += start + gap_ms + share_ms
        paid += tariff.gpu_microdollars(spent)

        assert paid == -(-(life_ms + tariff.idle_ms) // 1_000) * 160


@pytest.mark.parametrize("ended", [completed(usage=None), failed(usage=None)], ids=["completed", "failed"])
def test_a_job_that_tells_no_usage_pays_its_hold(ended: ProviderJob) -> None:
    """Whatever it took, it was not more."""
    done = settlement(ended)

    assert (done.microdollars, done.gpu_ms) == (JOB.held_microdollars, JOB.held_gpu_ms)
    assert done.spent is None


def test_a_job_that_failed_pays_what_it_took_all_the_same() -> None:
    """The GPU ran."""
    done = settlement(failed(failure_code="internal", failure_message="out of memory"))

    assert (done.state, done.microdollars) == (JobState.SETTLED, 1_178)
    assert (done.failure_code, done.failure) == ("internal", "out of memory")


@given(st.integers(0, 30_000), st.integers(0, 60_000), st.integers(0, 120_000))
def test_no_job_within_its_timeouts_settles_above_its_hold(execution_ms: int, start_ms: int, wait_ms: int) -> None:
    """In money and in GPU time: so what is used and held together stays within every limit."""
    usage = ProviderUsage(execution_ms=execution_ms, start_ms=start_ms)

    done = settlement(completed(usage=usage), wait_ms=wait_ms)

    assert 0 <= done.microdollars <= JOB.held_microdollars
    assert 0 <= done.gpu_ms <= JOB.held_gpu_ms


@pytest.mark.parametrize(
    ("error", "state", "microdollars"),
    [
        pytest.param(ProviderUnavailableError("full"), JobState.RELEASED, 0, id="never-taken"),
        pytest.param(ProviderRejectedError("401"), JobState.RELEASED, 0, id="refused"),
        pytest.param(ProviderTimeoutError("?"), JobState.SETTLED, JOB.held_microdollars, id="no-answer"),
        pytest.param(JobFailedError("?"), JobState.SETTLED, JOB.held_microdollars, id="failed"),
    ],
)
def test_only_what_surely_never_ran_is_free(error: ProviderError, state: JobState, microdollars: int) -> None:
    """The rest pays the hold, because the owner may have to."""
    done = settlement_after(error, JOB)

    assert (done.state, done.microdollars) == (state, microdollars)
    assert (done.failure_code, done.failure) == (error.code, error.public_message)


@pytest.mark.parametrize(
    ("ended", "kind", "message"),
    [
        pytest.param(failed(), JobFailedError, JobFailedError.default_message, id="says-nothing"),
        pytest.param(failed(failure_code="internal", failure_message="CUDA"), JobFailedError, "CUDA", id="says-why"),
        pytest.param(
            failed(failure_code="unauthenticated", failure_message="not signed"),
            JobFailedError,
            JobFailedError.default_message,
            id="between-the-hops",
        ),
        pytest.param(failed(failure_code="internal"), JobFailedError, JobFailedError.default_message, id="internal"),
        pytest.param(failed(failure_code="who-knows"), JobFailedError, JobFailedError.default_message, id="unknown"),
        pytest.param(
            failed(failure_code="invalid-argument", failure_message="too long"),
            InvalidRequestError,
            "too long",
            id="input",
        ),
        pytest.param(
            failed(failure_code="invalid-argument"),
            InvalidRequestError,
            InvalidRequestError.default_message,
            id="input-says-nothing",
        ),
        pytest.param(
            failed(failure_code="unavailable", failure_message="stopping"),
            ProviderUnavailableError,
            ProviderUnavailableError.default_message,
            id="try-again",
        ),
        pytest.param(
            running(state=ProviderState.CANCELLED),
            ProviderTimeoutError,
            "The model did not answer in time.",
            id="stop",
        ),
        pytest.param(
            running(state=ProviderState.EXPIRED), ProviderTimeoutError, "The model did not answer in time.", id="lost"
        ),
    ],
)
def test_a_failure_is_told_by_its_kind(ended: ProviderJob, kind: type[GateError], message: str) -> None:
    """So that a client knows whether another input, another try or neither may help."""
    failure = failure_of(ended)

    assert type(failure) is kind
    assert failure.public_message == message


def test_a_job_that_went_well_did_not_fail() -> None:
    """Whatever else is in its answer."""
    assert failure_of(completed(failure_code="internal")) is None


@pytest.mark.parametrize(
    "ended",
    [
        failed(),
        failed(failure_code="internal", failure_message="CUDA"),
        failed(failure_code="invalid-argument", failure_message="too long"),
        running(state=ProviderState.EXPIRED),
    ],
    ids=["failed", "says-why", "input", "lost"],
)
def test_a_failure_told_again_is_the_same_failure(ended: ProviderJob) -> None:
    """The same key is the same job, so it has one end: in its code as in its words."""
    first = failure_of(ended)
    assert first is not None

    again = failure_again(JOB.settled(settlement(ended), at=NOON))

    assert (type(again), again.code, again.public_message) == (type(first), first.code, first.public_message)


def test_a_job_that_was_not_taken_asks_for_a_new_key_when_it_is_told_again() -> None:
    """Trying again in a moment would only tell the same."""
    again = failure_again(JOB.settled(settlement(failed(failure_code="unavailable")), at=NOON))

    assert isinstance(again, ProviderUnavailableError)
    assert "new key" in again.public_message


@pytest.mark.parametrize("execution_ms", [10**7, 10**10], ids=["hours", "months"])
def test_a_time_that_cannot_be_pays_the_hold(execution_ms: int) -> None:
    """A provider's bug must not empty a caller's month."""
    done = settlement(completed(usage=ProviderUsage(execution_ms=execution_ms)))

    assert done.microdollars == JOB.held_microdollars


def test_a_timeout_told_again_is_the_same_timeout() -> None:
    """Also when the provider gave an error instead of an end."""
    error = ProviderTimeoutError("silent")

    again = failure_again(JOB.settled(settlement_after(error, JOB), at=NOON))

    assert (type(again), again.public_message) == (ProviderTimeoutError, error.public_message)


def test_a_job_that_was_swept_is_told_as_lost() -> None:
    """With the sweeper's own words."""
    again = failure_again(JOB.settled(Settlement.in_full(JOB, JobState.EXPIRED, "lost"), at=NOON))

    assert (again.code, again.public_message) == ("deadline-exceeded", "lost")


def test_an_answer_that_was_not_kept_asks_for_a_new_key() -> None:
    """It was answered and paid, and running it again unasked would pay twice."""
    again = failure_again(JOB.settled(settlement(completed()), at=NOON))

    assert isinstance(again, ConflictError)
    assert "new key" in again.public_message


@pytest.mark.parametrize(
    ("length", "kept"), [pytest.param(-2, True, id="just-fits"), pytest.param(-1, False, id="too-large")]
)
def test_an_answer_is_kept_if_a_document_can_hold_it(length: int, kept: bool) -> None:
    """The quotes of a text count too."""
    result = kept_result(completed(outputs="x" * (RESULT_BYTES_MAX + length)))

    assert (result is not None) is kept


def test_no_output_at_all_is_an_answer_to_keep() -> None:
    """`null` was what the model said."""
    assert kept_result(completed(outputs=None)) == "null"


@pytest.mark.parametrize(
    ("seen", "elapsed_ms", "beyond"),
    [
        pytest.param(running(), 3_600_000, False, id="nobody-knows-since-when-it-runs"),
        pytest.param(running(state=ProviderState.QUEUED), 3_600_000, False, id="a-long-queue"),
        pytest.param(running(tried_again=True), JOB.held_gpu_ms, False, id="tried-again-within-its-hold"),
        pytest.param(running(tried_again=True), JOB.held_gpu_ms + 1, True, id="tried-again-beyond-it"),
        pytest.param(running(state=ProviderState.QUEUED, tried_again=True), 90_001, True, id="to-be-tried-again"),
        pytest.param(running(delay_ms=600_000), 645_000, False, id="at-its-timeout"),
        pytest.param(running(delay_ms=600_000), 645_001, True, id="not-stopped-at-its-timeout"),
        pytest.param(completed(tried_again=True, delay_ms=0), 3_600_000, False, id="ended"),
    ],
)
def test_a_job_is_beyond_its_hold_when_its_tries_or_its_run_are(
    seen: ProviderJob, elapsed_ms: int, beyond: bool
) -> None:
    """A queue is not billed, and so is no reason to stop anything."""
    limit = MODEL.execution_ms_max

    assert is_beyond_hold(seen, JOB, elapsed_ms=elapsed_ms, execution_ms_max=limit) is beyond
