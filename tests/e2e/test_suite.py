"""Twohop as its users meet it: the Firebase JS SDK, the official emulators, hop 1 as deployed, and a real worker."""

from __future__ import annotations

import os
import subprocess

import httpx
import pytest

from infra.suite import HOST, PROJECT, Suite, inherited_env
from infra.suite_parts import FUNCTIONS
from tests.e2e.suite import FirebaseError, Person
from tests.emulators import answers
from twohop.loopback import free_port

# The first run makes functions/venv, which downloads.
pytestmark = [pytest.mark.suite, pytest.mark.timeout(900)]


def test_a_user_gets_the_models_answer(ann: Person) -> None:
    """The whole way: sign-in, hold, worker, settlement, answer."""
    answer = ann.call("infer", {"inputs": ["a cat", "a kitten"]})

    assert [len(embedding) for embedding in answer["outputs"]] == [384, 384]
    assert 0 < answer["usage"]["settled_microdollars"] < answer["usage"]["held_microdollars"]
    assert answer["quota"]["requests_per_day"]["remaining"] == 199


def test_a_guest_has_the_plan_of_guests(guest: Person) -> None:
    """An anonymous sign-in costs nobody anything, so its plan is smaller."""
    answer = guest.call("infer", {"inputs": "a cat"})

    assert answer["quota"]["requests_per_day"] == {
        "limit": 20,
        "remaining": 19,
        "resets_at": answer["quota"]["requests_per_day"]["resets_at"],
    }


def test_a_limit_is_told_so_that_a_program_can_act_on_it(guest: Person) -> None:
    """An app that shows when to come back does not hammer the service."""
    for _ in range(3):
        guest.call("infer", {"inputs": "a cat"})

    with pytest.raises(FirebaseError) as refused:
        _call_until_refused(guest)

    assert refused.value.code == "functions/resource-exhausted"
    details = refused.value.details
    assert (details["limit"], details["limit_value"]) == ("requests_per_minute", 6)
    assert 0 < details["retry_after_seconds"] <= 10
    assert "resets_at" in details


def test_a_repeated_request_is_answered_again_and_counted_once(ann: Person) -> None:
    """A plugin whose connection broke asks again with its key, and does not pay twice."""
    request = {"inputs": "a cat", "idempotency_key": "the same"}

    first = ann.call("infer", request)
    second = ann.call("infer", request)

    assert (first["repeated"], second["repeated"]) == (False, True)
    assert second["outputs"] == first["outputs"]
    assert second["quota"]["requests_per_day"]["remaining"] == 199


def test_a_stream_ends_with_the_answer(ann: Person) -> None:
    """The SDK's `stream()` waits for ever on a server that answers it with plain JSON."""
    streamed = ann.stream("infer", {"inputs": "a cat"})

    assert len(streamed["result"]["outputs"]) > 0


def test_a_refused_stream_ends_with_the_refusal(stranger: Person) -> None:
    """As above, for errors, whose status the SDK does not look at."""
    with pytest.raises(FirebaseError) as refused:
        stranger.stream("infer", {"inputs": "a cat"})

    assert refused.value.code == "functions/unauthenticated"


@pytest.mark.parametrize("name", ["infer", "quota"])
def test_nobody_is_refused(stranger: Person, name: str) -> None:
    """Verify first: who is not signed in gets nothing."""
    with pytest.raises(FirebaseError) as refused:
        stranger.call(name, {"inputs": "a cat"} if name == "infer" else None)

    assert refused.value.code == "functions/unauthenticated"


def test_a_made_up_token_is_refused(suite: Suite) -> None:
    """A header that only looks like a credential is none."""
    answer = httpx.post(
        suite.callable_url("infer"),
        json={"data": {"inputs": "a cat"}},
        headers={"authorization": "Bearer not.a.token"},
        timeout=30,
    )

    assert (answer.status_code, answer.json()["error"]["status"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    "request_data",
    [
        pytest.param(None, id="nothing"),
        pytest.param("a cat", id="no object"),
        pytest.param({}, id="no inputs"),
        pytest.param({"inputs": []}, id="empty inputs"),
        pytest.param({"inputs": [1]}, id="inputs are numbers"),
        pytest.param({"inputs": "a cat", "temperatur": 1}, id="unknown field"),
        pytest.param({"inputs": ["a cat"] * 65}, id="more items than the plan allows"),
    ],
)
def test_a_malformed_request_is_refused_and_counted_nowhere(ann: Person, request_data: object) -> None:
    """What cannot be answered is told apart from what may be tried again, and is free."""
    with pytest.raises(FirebaseError) as refused:
        ann.call("infer", request_data)

    assert refused.value.code == "functions/invalid-argument"
    assert ann.call("quota")["quota"]["requests_per_day"]["remaining"] == 200


def test_asking_for_the_quota_counts_as_no_use(ann: Person) -> None:
    """A page that shows what is left does not use it up."""
    ann.call("quota")

    quota = ann.call("quota")["quota"]

    assert quota["requests_per_minute"]["remaining"] == 5
    assert quota["requests_per_day"] == {
        "limit": 200,
        "remaining": 200,
        "resets_at": quota["requests_per_day"]["resets_at"],
    }


def test_users_read_their_own_counters_and_jobs(ann: Person) -> None:
    """What hop 1 counts is no secret to the one it is counted for."""
    answer = ann.call("infer", {"inputs": "a cat"})

    usage = ann.read(f"usage/{ann.uid}")
    jobs = ann.list_equal("jobs", "caller", ann.uid)

    assert [day["requests"] for day in usage["days"].values()] == [1]
    assert usage["in_flight"] == 0
    assert [(job["job_id"], job["state"]) for job in jobs] == [(answer["job_id"], "settled")]


def test_users_do_not_read_what_is_others(ann: Person, guest: Person) -> None:
    """Counters and jobs show who does what and when."""
    answer = guest.call("infer", {"inputs": "a cat"})

    for path in (f"usage/{guest.uid}", f"jobs/{answer['job_id']}", f"users/{guest.uid}", "gate/config", "budget/0"):
        with pytest.raises(FirebaseError) as refused:
            ann.read(path)

        assert refused.value.code == "permission-denied", path


def test_users_write_nothing(ann: Person) -> None:
    """A user who could write a counter or a plan would have no limit."""
    for path in (f"usage/{ann.uid}", f"users/{ann.uid}", "plans/free", "gate/config", "jobs/mine", "budget/0"):
        with pytest.raises(FirebaseError) as refused:
            ann.write(path, {"requests_per_day": 1_000_000})

        assert refused.value.code == "permission-denied", path


def test_the_sweep_runs_as_cloud_run_starts_it(suite: Suite) -> None:
    """The emulators leave scheduled functions out, so this one is started by the same command as in the cloud."""
    port = free_port()
    env = {
        **inherited_env(),
        **suite.settings,
        "FUNCTION_TARGET": "sweep",
        "GCLOUD_PROJECT": PROJECT,
        "FIRESTORE_EMULATOR_HOST": f"{HOST}:{suite.ports.firestore}",
        "HOST": HOST,
        "PORT": str(port),
    }
    command = [str(FUNCTIONS / "venv" / "bin" / "functions-framework")]
    with subprocess.Popen(command, cwd=FUNCTIONS, env=env, start_new_session=True) as process:
        try:
            assert answers(f"http://{HOST}:{port}/robots.txt", process)
            answer = httpx.post(f"http://{HOST}:{port}/", timeout=60)
        finally:
            os.killpg(process.pid, 9)

    assert (answer.status_code, answer.json()["swept"]) == (200, 0)


def _call_until_refused(person: Person) -> None:
    """Call more often than the burst lets through, on however slow a machine."""
    for _ in range(10):
        person.call("infer", {"inputs": "a cat"})
