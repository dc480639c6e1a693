"""Only hop 1's requests are run, lately signed, once each."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate import wire
from tests.worker.makers import FOREIGN_SECRET, NOON_MS, PREVIOUS_SECRET, SECRET, FakeClock, make_request
from worker.errors import RefusedError, ReplayedError, UnauthenticatedError, UnavailableError
from worker.jobs.keys import KeyCheck, ReplayMemory


def make_check(*secrets: str, clock: FakeClock | None = None, entries_max: int = 100) -> KeyCheck:
    memory = ReplayMemory(entries_max=entries_max)
    keys = [secret.encode() for secret in secrets or (SECRET,)]
    return KeyCheck(secrets=keys, clock=clock or FakeClock(), memory=memory)


def test_a_request_signed_with_the_secret_is_let_in() -> None:
    make_check().verify(make_request())


def test_both_secrets_are_valid_while_one_is_rotated_out() -> None:
    """Hop 1 and the workers cannot change their secret in the same instant."""
    check = make_check(SECRET, PREVIOUS_SECRET)

    check.verify(make_request(secret=SECRET))
    check.verify(make_request(secret=PREVIOUS_SECRET))


@pytest.mark.parametrize("secret", [FOREIGN_SECRET, PREVIOUS_SECRET], ids=["foreign", "rotated out"])
def test_another_secret_is_refused(secret: str) -> None:
    with pytest.raises(UnauthenticatedError):
        make_check().verify(make_request(secret=secret))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"body": b'{"model":"tiny","inputs":"other","parameters":{}}'}, id="body"),
        pytest.param({"job_id": "another-job"}, id="job id"),
        pytest.param({"issued_ms": NOON_MS - 1}, id="issued"),
        pytest.param({"expires_ms": NOON_MS + 10**9}, id="expires"),
        pytest.param({"signature": ""}, id="no signature"),
        pytest.param({"signature": "é\udcff"}, id="no hexadecimal"),
    ],
)
def test_whatever_is_tampered_with_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError):
        make_check().verify(dataclasses.replace(make_request(), **change))


@pytest.mark.parametrize(
    "times",
    [
        pytest.param({"now_ms": NOON_MS - 60_000, "valid_ms": 60_000}, id="expired just now"),
        pytest.param({"now_ms": NOON_MS + 60_000, "valid_ms": 60_000}, id="signed in the future"),
    ],
)
def test_a_request_out_of_its_time_is_refused(times: dict[str, int]) -> None:
    with pytest.raises(UnauthenticatedError):
        make_check().verify(make_request(**times))


def test_every_refusal_reads_the_same() -> None:
    """Whoever is guessing learns nothing from the answer; the reason is for the log."""
    messages = set()
    for request in (make_request(secret=FOREIGN_SECRET), make_request(now_ms=NOON_MS - 10**6)):
        with pytest.raises(UnauthenticatedError) as refused:
            make_check().verify(request)
        messages.add(str(refused.value))

    assert len(messages) == 1


def test_a_request_is_let_in_once() -> None:
    check, request = make_check(), make_request()
    check.verify(request)

    with pytest.raises(ReplayedError):
        check.verify(request)


def test_of_many_racing_copies_one_is_let_in() -> None:
    """A replay that races its original must not find a gap between looking and remembering."""
    check, request, results = make_check(), make_request(), []
    barrier = threading.Barrier(16)

    def send() -> None:
        barrier.wait()
        try:
            check.verify(request)
            results.append("in")
        except ReplayedError:
            results.append("out")

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == ["in"] + ["out"] * 15


def test_a_clock_set_back_revives_no_request() -> None:
    """Signatures are kept for a while after they expire."""
    clock = FakeClock()
    check, request = make_check(clock=clock), make_request(valid_ms=10_000)
    check.verify(request)
    clock.ms = 30_000
    check.verify(make_request(now_ms=NOON_MS + 30_000))
    clock.ms = 5_000

    with pytest.raises(ReplayedError):
        check.verify(request)


def test_a_full_memory_refuses_rather_than_forgets() -> None:
    """Forgetting a valid signature would let its request in again."""
    check, first = make_check(entries_max=2), make_request()
    check.verify(first)
    check.verify(make_request())

    with pytest.raises(UnavailableError):
        check.verify(make_request())
    with pytest.raises(ReplayedError):
        check.verify(first)


def test_expired_signatures_make_room() -> None:
    clock = FakeClock()
    check = make_check(clock=clock, entries_max=1)
    check.verify(make_request(valid_ms=1_000))
    clock.ms = 61_000

    check.verify(make_request(now_ms=NOON_MS + 61_000))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 100_000)), max_size=60))
def test_the_memory_never_takes_a_signature_twice_while_it_is_valid(sends: list[tuple[int, int]]) -> None:
    memory, now_ms = ReplayMemory(entries_max=10), 0
    taken: dict[int, int] = {}
    for name, wait_ms in sends:
        now_ms += wait_ms
        try:
            memory.remember(str(name), expires_ms=now_ms + 50_000, now_ms=now_ms)
        except RefusedError:
            continue
        assert taken.get(name, 0) <= now_ms
        taken[name] = now_ms + 50_000

    assert len(memory) <= 10


@given(
    st.dictionaries(
        st.sampled_from(["version", "job_id", "issued_ms", "expires_ms", "signature", "body"]),
        st.none() | st.booleans() | st.integers() | st.text(st.characters()) | st.lists(st.integers()),
    )
)
def test_no_rubbish_is_let_in(fields: dict[str, Any]) -> None:
    with pytest.raises((wire.SignatureError, UnauthenticatedError)):
        make_check().verify(
            wire.SignedRequest.from_envelope({**make_request(secret=FOREIGN_SECRET).to_envelope(), **fields})
        )
