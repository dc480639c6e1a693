"""Jobs that outlive their call, as an app has them: submitted by the SDK, heard of by listening to a document."""

from __future__ import annotations

import json

import httpx
import pytest

from infra.suite import Suite
from tests.e2e.suite import FirebaseError, Person

pytestmark = [pytest.mark.suite, pytest.mark.timeout(900)]


def test_a_submitted_job_is_heard_of_by_listening(ann: Person) -> None:
    """Two invocations: the second is the worker's, which tells of the end."""
    submitted = ann.call("submit", {"inputs": ["a cat", "a kitten"]})
    heard = ann.watch(f"jobs/{submitted['job_id']}")

    assert (submitted["state"], "outputs" in submitted) == ("running", False)
    assert heard["states"][-1] == "settled"
    assert [len(embedding) for embedding in json.loads(heard["job"]["result"])] == [384, 384]
    assert 0 < heard["job"]["settled_microdollars"] < submitted["usage"]["held_microdollars"]
    assert ann.read(f"usage/{ann.uid}")["in_flight"] == 0


def test_one_who_cannot_listen_asks(ann: Person) -> None:
    submitted = ann.call("submit", {"inputs": "a cat"})
    ann.watch(f"jobs/{submitted['job_id']}")

    job = ann.call("job", {"job_id": submitted["job_id"]})

    assert (job["state"], len(job["outputs"])) == ("settled", 384)


def test_a_restarted_app_joins_its_job(ann: Person) -> None:
    """And is answered at once when the job has ended meanwhile."""
    request = {"inputs": "a cat", "idempotency_key": "k"}
    first = ann.call("submit", request)
    ann.watch(f"jobs/{first['job_id']}")

    again, called = ann.call("submit", request), ann.call("infer", request)

    assert again["job_id"] == called["job_id"] == first["job_id"]
    assert again["outputs"] == called["outputs"]
    assert ann.call("quota")["quota"]["requests_per_day"]["remaining"] == 199
    with pytest.raises(FirebaseError) as refused:
        ann.call("submit", {**request, "inputs": "a dog"})
    assert refused.value.code == "functions/already-exists"


def test_anothers_job_is_not_found(ann: Person, guest: Person) -> None:
    submitted = ann.call("submit", {"inputs": "a cat"})

    for name in ("job", "cancel"):
        with pytest.raises(FirebaseError) as refused:
            guest.call(name, {"job_id": submitted["job_id"]})
        assert refused.value.code == "functions/not-found"


def test_cancelling_what_has_ended_changes_nothing(ann: Person) -> None:
    """The race that every cancel button has."""
    submitted = ann.call("submit", {"inputs": "a cat"})
    ann.watch(f"jobs/{submitted['job_id']}")

    assert ann.call("cancel", {"job_id": submitted["job_id"]})["state"] == "settled"


def test_a_made_up_webhook_is_nobodys(suite: Suite, ann: Person) -> None:
    """The address of a job cannot be made from its id."""
    job_id = ann.call("submit", {"inputs": "a cat"})["job_id"]

    answer = httpx.post(suite.callable_url("webhook"), params={"job": job_id, "proof": "0" * 64}, timeout=30)

    assert answer.status_code == 404
