"""The JavaScript client in Node.js, against `make dev` with a model that writes for as long as one likes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest

from gate.domain.job import JobState
from infra.suite import HOST, PROJECT, REGION
from tests.client import published
from tests.client.conftest import HASTY_READS_PER_MINUTE
from tests.client.wire import lossy_wire
from tests.dev.killing import jobs, until
from tests.dev.running import Dev
from tests.e2e.suite import Client, FirebaseError
from twohop.loopback import free_port

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="LEFT OUT: a dev server with a model made here"),
]

SHORT = {"parameters": {"max_new_tokens": 40}}
LONG = {"parameters": {"max_new_tokens": 7_000}}
LONGER = {"parameters": {"max_new_tokens": 2_000}}
"""Than a call is held open at `hasty_dev`."""
TEXT = "once upon"


class Apps(Protocol):
    """Starts apps that use the client."""

    def __call__(self, **changes: Any) -> AbstractContextManager[Client]: ...


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published.install(tmp_path_factory.mktemp("app"))


@pytest.fixture
def apps(dev: Dev, installed: Path) -> Apps:
    return apps_of(dev, installed)


def apps_of(dev: Dev, installed: Path) -> Apps:
    where = {
        "project": PROJECT,
        "region": REGION,
        "host": HOST,
        "ports": dict.fromkeys(("auth", "functions", "firestore"), dev.port),
    }

    def start(**changes: Any) -> AbstractContextManager[Client]:
        return published.app(installed, {**where, **changes})

    return start


@pytest.fixture
def ann(apps: Apps) -> Iterator[Client]:
    with apps() as client:
        yield client


def ask(client: Client, deed: str, **what: Any) -> Any:
    return client.ask({"do": deed, **what})


def jobs_of(dev: Dev, client: Client) -> list[Any]:
    uid = ask(client, "uid")
    return [job for job in asyncio.run(jobs(dev.folder)) if job.caller == uid]


def test_it_signs_in_by_itself_asks_and_answers(ann: Client) -> None:
    """An app needs no more than `signIn: () => signInAnonymously(auth)`."""
    answer = ask(ann, "infer", inputs=TEXT, options=SHORT)

    assert answer["outputs"][0]["generated_text"]
    assert (answer["state"], answer["repeated"]) == ("settled", False)
    assert ask(ann, "quota")["requests_per_day"]["remaining"] > 0


def test_without_a_way_to_sign_in_it_says_so_and_sends_nothing(apps: Apps) -> None:
    with apps(settings={"signIn": "none"}) as stranger, pytest.raises(FirebaseError) as refused:
        ask(stranger, "infer", inputs=TEXT)

    assert refused.value.code == "unauthenticated"
    assert "Sign in first" in refused.value.message


def test_a_stream_gives_the_text_in_parts_and_returns_the_answer(ann: Client) -> None:
    streamed = ask(ann, "stream", inputs=TEXT, options=SHORT)

    assert len(streamed["heard"]) > 3
    written = "".join(part["text"] for part in streamed["heard"])
    assert written == streamed["answer"]["outputs"][0]["generated_text"]


def test_who_leaves_a_stream_early_stops_the_model(dev: Dev, ann: Client) -> None:
    """`break` in a `for await` is enough; nobody has to know of an AbortController."""
    heard = ask(ann, "stream", inputs=TEXT, options=LONG, parts=3)["heard"]

    assert len(heard) == 3
    assert until(lambda: jobs_of(dev, ann)[0].state.final)
    [job] = jobs_of(dev, ann)
    assert (job.state, job.failure_code) == (JobState.SETTLED, "cancelled")
    assert job.settled_microdollars < job.held_microdollars


@pytest.mark.parametrize("deed", ["infer", "stream"])
def test_what_takes_longer_than_its_call_is_followed_to_its_answer(
    hasty_dev: Dev, installed: Path, deed: str
) -> None:
    """An app need not know that a call has an end of its own."""
    with apps_of(hasty_dev, installed)() as client:
        told = ask(client, deed, inputs=TEXT, options=LONGER)
        [job] = jobs_of(hasty_dev, client)

    answer = told["answer"] if deed == "stream" else told
    heard = "".join(part["text"] for part in told.get("heard", []))
    assert answer["state"] == "settled"
    assert len(heard) < len(answer["outputs"][0]["generated_text"])
    assert answer["outputs"][0]["generated_text"].startswith(heard)
    assert job.awaited_ms >= 900, "it did not outlive its call"


def test_a_submitted_job_is_watched_to_its_end(ann: Client) -> None:
    """Without a Firestore it is asked for."""
    job = ask(ann, "submit", inputs=TEXT, options=SHORT)

    assert ask(ann, "watch", jobId=job["job_id"])[-1] == "settled"
    assert ask(ann, "result", jobId=job["job_id"])["outputs"][0]["generated_text"]


def test_a_cancelled_job_ends_with_a_typed_error(ann: Client) -> None:
    job = ask(ann, "submit", inputs=TEXT, options=LONG)
    ask(ann, "cancel", jobId=job["job_id"])

    with pytest.raises(FirebaseError) as failed:
        ask(ann, "result", jobId=job["job_id"])

    assert failed.value.code == "cancelled"
    assert failed.value.details["job_id"] == job["job_id"]


@pytest.mark.parametrize(
    ("inputs", "options", "code"),
    [
        ({"no": "text"}, {}, "invalid-argument"),
        (TEXT, {"model": "another"}, "permission-denied"),
        (TEXT, {"parameters": {"no_such": 1}}, "invalid-argument"),
    ],
    ids=["inputs", "model", "parameter"],
)
def test_what_is_refused_is_typed_and_not_sent_again(ann: Client, inputs: Any, options: Any, code: str) -> None:
    with pytest.raises(FirebaseError) as refused:
        ask(ann, "infer", inputs=inputs, options=options)

    assert refused.value.code == code
    assert refused.value.details["name"] == "TwohopError"
    assert refused.value.details["retryable"] is False


def test_the_same_key_is_one_request(dev: Dev, ann: Client) -> None:
    options = {**SHORT, "idempotencyKey": "the-same"}
    first = ask(ann, "infer", inputs=TEXT, options=options)
    second = ask(ann, "infer", inputs=TEXT, options=options)

    assert (first["repeated"], second["repeated"]) == (False, True)
    assert len(jobs_of(dev, ann)) == 1
    with pytest.raises(FirebaseError) as refused:
        ask(ann, "infer", inputs="another text", options=options)
    assert refused.value.code == "already-exists"


def test_a_token_that_expired_in_the_computers_sleep_is_renewed(ann: Client) -> None:
    """The SDK believes its own clock; the gate does not."""
    ask(ann, "quota")
    ask(ann, "expire")
    assert ask(ann, "quota")["requests_per_day"]["remaining"] > 0

    ask(ann, "expire")
    assert ask(ann, "stream", inputs=TEXT, options=SHORT)["answer"]["state"] == "settled"


def test_a_client_that_is_killed_goes_on_with_its_request(dev: Dev, apps: Apps, tmp_path: Path) -> None:
    """As a plugin's service worker is: the same key joins the job that runs, and it is counted once."""
    token = dev.token("resumed-ann")
    own = partial(apps, noted=str(tmp_path / "noted.json"), settings={"signIn": "custom"}, customToken=token)
    with own() as first:
        ask(first, "begin", inputs=TEXT, options={"parameters": {"max_new_tokens": 600}})
        assert until(lambda: any(job.caller == "resumed-ann" for job in asyncio.run(jobs(dev.folder))))
        first.kill()
    [noted] = json.loads((tmp_path / "noted.json").read_text())

    with own() as second:
        answers = ask(second, "resume")

    [(key, answer)] = answers.items()
    assert noted == f"twohop:{key}"
    assert answer["outputs"][0]["generated_text"]
    assert [job.caller for job in asyncio.run(jobs(dev.folder))].count("resumed-ann") == 1
    assert json.loads((tmp_path / "noted.json").read_text()) == {}


def test_a_page_that_reads_too_often_is_slowed_down_and_not_refused(hasty_dev: Dev, installed: Path) -> None:
    """It need not know of the limit on what holds no job; only a client that does not try again sees it."""
    apps = apps_of(hasty_dev, installed)

    with apps(settings={"client": {"triesMax": 1}}) as hurried, pytest.raises(FirebaseError) as refused:
        _ = [ask(hurried, "quota") for _ in range(3 * HASTY_READS_PER_MINUTE)]
    with apps() as patient:
        answers = [ask(patient, "quota") for _ in range(HASTY_READS_PER_MINUTE + 1)]

    assert refused.value.details["limit"] == "reads_per_minute"
    assert all(answer["requests_per_day"]["remaining"] > 0 for answer in answers)


def test_a_gate_that_stays_away_is_an_error_that_may_be_tried_again(dev: Dev, apps: Apps) -> None:
    nobody = {"auth": dev.port, "functions": free_port(), "firestore": dev.port}
    with apps(ports=nobody, settings={"client": {"triesMax": 2}}) as lost, pytest.raises(FirebaseError) as failed:
        ask(lost, "infer", inputs=TEXT)

    assert failed.value.details["retryable"] is True


def test_an_answer_that_was_lost_on_the_way_is_asked_for_again_and_counted_once(dev: Dev, apps: Apps) -> None:
    """A train in a tunnel: the request arrived, its answer did not."""
    with lossy_wire(f"127.0.0.1:{dev.port}") as wire:
        ports = {"auth": dev.port, "functions": wire.port, "firestore": dev.port}
        with apps(ports=ports) as traveller:
            ask(traveller, "quota")
            wire.do(wire.proxy.withhold)
            ask(traveller, "begin", inputs=TEXT, options=SHORT)
            assert until(lambda: any(job.state.final for job in jobs_of(dev, traveller)))
            wire.do(wire.proxy.cut)
            assert until(lambda: ask(traveller, "begun")), "the second try did not come back"

            [answer] = ask(traveller, "begun")
            assert answer["repeated"] is True
            assert len(jobs_of(dev, traveller)) == 1
