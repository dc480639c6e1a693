"""A model that writes, behind `make dev`: its stream as the Firebase SDK has it, and what is left when anybody dies.

Whatever is killed at whatever point, each hold is settled or released, and once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from gate.domain.job import Job, JobState
from tests.dev.killing import counters, ends, jobs, swept, total, until
from tests.dev.running import Dev, dev_running
from tests.e2e.suite import Client, FirebaseError, Person, dev_client
from tests.worker.generation.makers import make_endless_writer

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="LEFT OUT: killing hops. It finds hop 2's process by /proc"),
]

SHORT = {"inputs": "once upon", "parameters": {"max_new_tokens": 40}}
LONG = {"inputs": "once upon", "parameters": {"max_new_tokens": 7_000}}
"""So much writing that it is not the model who ends it; and two of them fit into the worker."""
SLOW_MODEL = """
import time

def load(folder):
    return None

def predict(model, batch, parameters):
    time.sleep(8)
    return ["done" for _ in batch]
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_endless_writer(tmp_path_factory.mktemp("models") / "tiny-llama"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, model: str) -> Iterator[Dev]:
    """Both hops, for tests that leave them alive."""
    with running(tmp_path_factory.mktemp("shared"), model) as dev:
        yield dev


@pytest.fixture
def client(shared: Dev) -> Iterator[Client]:
    with dev_client(shared.port) as client:
        yield client


@pytest.fixture
def ann(client: Client) -> Person:
    """Somebody with the unmodified Firebase SDK."""
    person = Person(client, "ann")
    person.sign_in_anonymously()
    return person


@contextmanager
def running(folder: Path, model: str) -> Iterator[Dev]:
    with dev_running(folder, MODEL=model, EXECUTION_SECONDS_MAX="100") as dev:
        yield dev


def the_job(dev: Dev) -> Job:
    """Return the newest job."""
    return asyncio.run(jobs(dev.folder))[0]


def in_flight(dev: Dev, caller: str) -> int:
    return asyncio.run(counters(dev.folder, caller)).get(("in_flight",), 0)


def listen(dev: Dev, token: str) -> threading.Event:
    """Open a stream of a long text in the background. The event is set when its first part has come."""
    heard = threading.Event()

    def read() -> None:
        headers = {"authorization": f"Bearer {token}", "accept": "text/event-stream"}
        url = f"{dev.url}/demo-twohop/us-central1/infer"
        with (
            suppress(httpx.HTTPError),  # Somebody is killed meanwhile.
            httpx.stream("POST", url, json={"data": LONG}, headers=headers, timeout=60) as response,
        ):
            for line in response.iter_lines():
                if '"message"' in line:
                    heard.set()

    threading.Thread(target=read, daemon=True).start()
    return heard


def test_the_sdk_gets_the_texts_as_they_are_written_and_the_answer_last(ann: Person) -> None:
    """`httpsCallable(…).stream()`, unmodified."""
    streamed = ann.stream("infer", SHORT)

    texts = [chunk["text"] for chunk in streamed["chunks"]]
    assert len(texts) > 3
    assert "".join(texts) == streamed["result"]["outputs"][0]["generated_text"]
    assert streamed["result"]["state"] == "settled"


def test_one_who_leaves_stops_the_model_and_pays_what_it_used(shared: Dev, ann: Person) -> None:
    """An `AbortSignal` after three chunks of seven thousand tokens."""
    heard = ann.leave("infer", LONG, chunks=3)

    assert len(heard) >= 3
    assert until(lambda: the_job(shared).state.final)
    job = the_job(shared)
    assert (job.state, job.failure_code) == (JobState.SETTLED, "cancelled")
    assert 0 < (job.settled_microdollars or 0) < job.held_microdollars
    assert in_flight(shared, ann.uid) == 0
    assert len(ann.stream("infer", SHORT)["chunks"]) > 3  # The model is free for the next one.


def test_a_client_that_is_killed_is_one_who_leaves(shared: Dev, client: Client, ann: Person) -> None:
    """No goodbye, only a connection that ends."""

    def leave() -> None:
        with suppress(AssertionError, OSError, ValueError):
            ann.stream("infer", LONG)

    threading.Thread(target=leave, daemon=True).start()
    assert until(lambda: in_flight(shared, ann.uid) == 1)

    client.kill()

    assert until(lambda: the_job(shared).state.final)
    assert the_job(shared).failure_code == "cancelled"
    assert in_flight(shared, ann.uid) == 0


def test_a_submitted_job_needs_nobody_to_end(shared: Dev) -> None:
    """Its caller is gone; the worker tells hop 1, and the answer waits in the document."""
    answer = shared.call("submit", SHORT, token=shared.token("alice")).json()["result"]

    assert answer["state"] == "running"
    assert until(lambda: the_job(shared).state.final)
    job = the_job(shared)
    assert (job.job_id, job.state) == (answer["job_id"], JobState.SETTLED)
    assert "generated_text" in (job.result or "")


def test_a_running_job_is_cancelled_at_the_worker(shared: Dev) -> None:
    token = shared.token("alice")
    job_id = shared.call("submit", LONG, token=token).json()["result"]["job_id"]

    cancelled = shared.call("cancel", {"job_id": job_id}, token=token).json()["result"]

    assert (cancelled["state"], cancelled["error"]["status"]) == ("settled", "CANCELLED")
    assert 0 < cancelled["usage"]["settled_microdollars"] < cancelled["usage"]["held_microdollars"]
    assert in_flight(shared, "alice") == 0


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_job_that_a_call_waits_for_is_cancelled_by_another_call(shared: Dev, accept: str) -> None:
    """The one that waits is told so; `submit` with its key tells the job's id at once. It is paid once."""
    token, request = shared.token("canceller"), {**LONG, "idempotency_key": f"cancelled {accept}"}
    headers = {"authorization": f"Bearer {token}", "accept": accept}
    with ThreadPoolExecutor() as pool:
        url = f"{shared.url}/demo-twohop/us-central1/infer"
        waiting = pool.submit(httpx.post, url, json={"data": request}, headers=headers, timeout=90)
        assert until(lambda: in_flight(shared, "canceller") == 1)
        job_id = shared.call("submit", request, token=token).json()["result"]["job_id"]

        cancelled = shared.call("cancel", {"job_id": job_id}, token=token).json()["result"]

        assert '"CANCELLED"' in waiting.result().text
    assert (cancelled["state"], cancelled["error"]["status"]) == ("settled", "CANCELLED")
    assert 0 < cancelled["usage"]["settled_microdollars"] < cancelled["usage"]["held_microdollars"]
    counted = asyncio.run(counters(shared.folder, "canceller"))
    paid = sum(job.settled_microdollars or 0 for job in asyncio.run(jobs(shared.folder)) if job.caller == "canceller")
    assert (counted["in_flight",], total(counted, "microdollars")) == (0, paid)


def test_a_call_that_waited_in_vain_leaves_a_job_that_ends_by_itself(tmp_path: Path) -> None:
    """`infer` answers with a running job instead of failing; the same key has its answer later."""
    code = tmp_path / "slow.py"
    code.write_text(SLOW_MODEL, "utf-8")
    request = {"inputs": "a", "idempotency_key": "k"}
    settings = {"MODEL": str(tmp_path), "CODE": str(code), "WAIT_SECONDS_MAX": "5", "EXECUTION_SECONDS_MAX": "5"}
    with dev_running(tmp_path, **settings) as dev:
        token = dev.token("alice")
        answer = dev.call("infer", request, token=token).json()["result"]
        ended = until(lambda: the_job(dev).state.final)
        again = dev.call("infer", request, token=token).json()["result"]

    assert (answer["state"], "outputs" in answer) == ("running", False)
    assert ended
    assert (again["job_id"], again["repeated"], again["outputs"]) == (answer["job_id"], True, "done")


def test_a_worker_that_is_killed_ends_the_stream_and_the_job(tmp_path: Path, model: str) -> None:
    """The stream ends with an error, and the job pays for no more than the time that went by."""
    with running(tmp_path, model) as dev, dev_client(dev.port) as client:
        ann = Person(client, "ann")
        ann.sign_in_anonymously()
        ann.open("infer", LONG)
        os.kill(dev.worker_pid(), signal.SIGKILL)

        with pytest.raises(FirebaseError) as failed:
            ann.rest()

        job = the_job(dev)
        assert failed.value.code == "functions/unavailable"
        assert job.state is JobState.SETTLED
        assert 0 < (job.settled_microdollars or 0) < job.held_microdollars
        assert in_flight(dev, ann.uid) == 0


def test_a_client_that_is_killed_while_it_waits_leaves_a_job_that_is_settled(shared: Dev) -> None:
    """Without a stream nobody sees it go: the job ends by itself, is paid once, and waits for the same key."""
    asked = {"inputs": "once upon", "parameters": {"max_new_tokens": 800}, "idempotency_key": "left"}
    token = shared.token("leaver")
    with pytest.raises(httpx.TimeoutException):
        shared.call("infer", asked, token=token, timeout_seconds=0.5)
    assert in_flight(shared, "leaver") == 1

    assert until(lambda: in_flight(shared, "leaver") == 0, seconds=60)

    again = shared.call("infer", asked, token=token).json()["result"]
    [job] = [job for job in asyncio.run(jobs(shared.folder)) if job.caller == "leaver"]
    counted = asyncio.run(counters(shared.folder, "leaver"))
    assert (again["job_id"], again["repeated"], job.state) == (job.job_id, True, JobState.SETTLED)
    assert (total(counted, "requests"), total(counted, "microdollars")) == (1, job.settled_microdollars)


def test_a_worker_that_is_killed_ends_the_call_that_waits_and_the_submitted_job(tmp_path: Path, model: str) -> None:
    """The call is told at once. Of the submitted job nobody knows what it took: the sweeper settles its hold."""
    with running(tmp_path, model) as dev, ThreadPoolExecutor() as pool:
        dev.call("submit", LONG, token=dev.token("bob"))
        waiting = pool.submit(dev.call, "infer", LONG, token=dev.token("alice"))
        assert until(lambda: in_flight(dev, "alice") == 1)

        os.kill(dev.worker_pid(), signal.SIGKILL)

        assert waiting.result().status_code in {503, 504}
        assert in_flight(dev, "alice") == 0

    swept_by_hour = [_swept_after(tmp_path, hours) for hours in (0, 1, 2, 3, 4)]
    paid = {job.caller: (job.state, job.settled_microdollars) for job in asyncio.run(jobs(tmp_path))}
    held = {job.caller: job.held_microdollars for job in asyncio.run(jobs(tmp_path))}
    assert sum(swept_by_hour) == 1
    assert paid["bob"] == (JobState.EXPIRED, held["bob"])
    assert paid["alice"][0] in (JobState.SETTLED, JobState.RELEASED)
    for caller, (_, microdollars) in paid.items():
        counted = asyncio.run(counters(tmp_path, caller))
        assert (counted["in_flight",], total(counted, "microdollars")) == (0, microdollars)


def test_what_hop_1_died_on_is_settled_once(tmp_path: Path, model: str) -> None:
    """A stream and a submitted job at once; the worker dies with hop 1, so nobody will ever know what they took."""
    with running(tmp_path, model) as dev:
        token, worker = dev.token("alice"), dev.worker_pid()
        submitted = dev.call("submit", LONG, token=token).json()["result"]
        assert listen(dev, token).wait(60)

        dev.process.kill()
        dev.process.wait()
        os.kill(worker, signal.SIGKILL)
        assert ends(worker)

    lost = [_swept_after(tmp_path, hours) for hours in (0, 1, 2, 3, 4)]
    found = asyncio.run(jobs(tmp_path))
    counted = asyncio.run(counters(tmp_path, "alice"))
    assert sum(lost) == 2
    assert {job.job_id for job in found} >= {submitted["job_id"]}
    assert [job.state for job in found] == [JobState.EXPIRED] * 2
    assert counted["in_flight",] == 0
    assert total(counted, "microdollars") == sum(job.held_microdollars for job in found)


def _swept_after(folder: Path, hours: int) -> int:
    return asyncio.run(swept(folder, at=datetime.now(UTC) + timedelta(hours=hours), provider_is_away=True))
