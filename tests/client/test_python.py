"""The Python client with a real API token, against `make dev` with a model that writes."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner
from twohop_client import TwohopClient, TwohopError

from gate.domain.job import JobState
from tests.client.conftest import HASTY_READS_PER_MINUTE
from tests.client.wire import lossy_wire
from tests.dev.killing import jobs, until
from tests.dev.running import Dev
from twohop.cli import cli
from twohop.loopback import free_port

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="LEFT OUT: a dev server with a model made here"),
]

CALLABLES = "demo-twohop/us-central1"
SHORT: dict[str, Any] = {"max_new_tokens": 40}
LONG: dict[str, Any] = {"max_new_tokens": 7_000}
LONGER: dict[str, Any] = {"max_new_tokens": 2_000}
"""Than a call is held open at `hasty_dev`."""
TEXT = "once upon"

NewToken = Callable[[str], str]


@pytest.fixture
def token_of(dev: Dev, monkeypatch: pytest.MonkeyPatch) -> NewToken:
    """Makes API tokens as the operator does."""
    monkeypatch.chdir(dev.folder.parent)
    return partial(new_token, dev)


def new_token(dev: Dev, uid: str) -> str:
    line = ["--sqlite-path", str(dev.folder / "ledger.sqlite3"), "token", "create", uid, "--label", "test"]
    result = CliRunner().invoke(cli, line)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


@pytest.fixture
def bea(dev: Dev, token_of: NewToken) -> Iterator[TwohopClient]:
    with TwohopClient(f"{dev.url}/{CALLABLES}", token_of("bea")) as client:
        yield client


def jobs_of(dev: Dev, uid: str) -> list[Any]:
    return [job for job in asyncio.run(jobs(dev.folder)) if job.caller == uid]


def test_it_asks_and_is_answered(bea: TwohopClient) -> None:
    answer = bea.infer(TEXT, parameters=SHORT)

    assert answer["outputs"][0]["generated_text"]
    assert bea.quota()["requests_per_day"]["remaining"] > 0


def test_a_stream_gives_the_text_in_parts_and_has_the_answer_at_its_end(bea: TwohopClient) -> None:
    stream = bea.stream(TEXT, parameters=SHORT)
    texts = [part["text"] for part in stream]

    assert len(texts) > 3
    assert stream.answer is not None
    assert "".join(texts) == stream.answer["outputs"][0]["generated_text"]


def test_who_leaves_a_stream_early_stops_the_model(dev: Dev, token_of: NewToken) -> None:
    """`break` is enough."""
    with TwohopClient(f"{dev.url}/{CALLABLES}", token_of("leaver")) as client:
        for number, _ in enumerate(client.stream(TEXT, parameters=LONG)):
            if number == 2:
                break
        assert until(lambda: jobs_of(dev, "leaver")[0].state.final)

    [job] = jobs_of(dev, "leaver")
    assert (job.state, job.failure_code) == (JobState.SETTLED, "cancelled")


@pytest.mark.parametrize("way", ["infer", "stream"])
def test_what_takes_longer_than_its_call_is_followed_to_its_answer(
    hasty_dev: Dev, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A script need not know that a call has an end of its own."""
    monkeypatch.chdir(hasty_dev.folder.parent)
    with TwohopClient(f"{hasty_dev.url}/{CALLABLES}", new_token(hasty_dev, way)) as client:
        if way == "stream":
            stream = client.stream(TEXT, parameters=LONGER)
            heard = "".join(part["text"] for part in stream)
            answer = stream.answer
        else:
            heard, answer = "", client.infer(TEXT, parameters=LONGER)

    assert answer is not None
    assert answer["state"] == "settled"
    assert len(heard) < len(answer["outputs"][0]["generated_text"])
    assert answer["outputs"][0]["generated_text"].startswith(heard)
    [job] = jobs_of(hasty_dev, way)
    assert job.awaited_ms >= 900, "it did not outlive its call"


def test_a_submitted_job_is_watched_to_its_end(bea: TwohopClient) -> None:
    job = bea.submit(TEXT, parameters=SHORT)

    assert [seen["state"] for seen in bea.watch(job["job_id"])][-1] == "settled"
    assert bea.result(job["job_id"])["outputs"][0]["generated_text"]


def test_a_cancelled_job_ends_with_its_error(bea: TwohopClient) -> None:
    job = bea.submit(TEXT, parameters=LONG)
    bea.cancel(job["job_id"])

    with pytest.raises(TwohopError) as failed:
        bea.result(job["job_id"])

    assert (failed.value.code, failed.value.details["job_id"]) == ("cancelled", job["job_id"])


@pytest.mark.parametrize(
    ("inputs", "options", "code"),
    [
        ({"no": "text"}, {}, "invalid-argument"),
        (TEXT, {"model": "another"}, "permission-denied"),
        (TEXT, {"parameters": {"no_such": 1}}, "invalid-argument"),
    ],
    ids=["inputs", "model", "parameter"],
)
def test_what_is_refused_is_typed_and_not_sent_again(
    bea: TwohopClient, inputs: Any, options: dict[str, Any], code: str
) -> None:
    with pytest.raises(TwohopError) as refused:
        bea.infer(inputs, **options)

    assert (refused.value.code, refused.value.retryable) == (code, False)


def test_a_refused_stream_is_the_same_error(bea: TwohopClient) -> None:
    """Its status is 200, as that of every stream."""
    with pytest.raises(TwohopError) as refused:
        list(bea.stream({"no": "text"}))

    assert refused.value.code == "invalid-argument"


def test_a_token_of_nobody_is_refused(dev: Dev) -> None:
    with TwohopClient(f"{dev.url}/{CALLABLES}", "th_forged") as client, pytest.raises(TwohopError) as refused:
        client.quota()

    assert refused.value.code == "unauthenticated"
    assert "th_forged" not in str(refused.value)


def test_the_same_key_is_one_request(dev: Dev, token_of: NewToken) -> None:
    with TwohopClient(f"{dev.url}/{CALLABLES}", token_of("same")) as client:
        answers = [client.infer(TEXT, parameters=SHORT, idempotency_key="k") for _ in range(2)]

    assert [answer["repeated"] for answer in answers] == [False, True]
    assert len(jobs_of(dev, "same")) == 1


def test_an_answer_that_was_lost_on_the_way_is_asked_for_again_and_counted_once(dev: Dev, token_of: NewToken) -> None:
    """The request arrived, its answer did not."""
    answers: list[Any] = []
    with (
        lossy_wire(f"127.0.0.1:{dev.port}") as wire,
        TwohopClient(f"http://127.0.0.1:{wire.port}/{CALLABLES}", token_of("traveller")) as client,
    ):
        wire.do(wire.proxy.withhold)
        asking = threading.Thread(target=lambda: answers.append(client.infer(TEXT, parameters=SHORT)), daemon=True)
        asking.start()
        assert until(lambda: any(job.state.final for job in jobs_of(dev, "traveller")))
        wire.do(wire.proxy.cut)
        asking.join(30)

    [answer] = answers
    assert answer["repeated"] is True
    assert len(jobs_of(dev, "traveller")) == 1


def test_a_script_that_reads_too_often_is_slowed_down_and_not_refused(
    hasty_dev: Dev, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It need not know of the limit on what holds no job; only a client that does not try again sees it."""
    monkeypatch.chdir(hasty_dev.folder.parent)
    hurried, patient = (
        TwohopClient(f"{hasty_dev.url}/{CALLABLES}", new_token(hasty_dev, f"reader-{tries}"), tries_max=tries)
        for tries in (1, 5)
    )

    with hurried, pytest.raises(TwohopError) as refused:
        _ = [hurried.quota() for _ in range(3 * HASTY_READS_PER_MINUTE)]
    with patient:
        answers = [patient.quota() for _ in range(HASTY_READS_PER_MINUTE + 1)]

    assert refused.value.limit == "reads_per_minute"
    assert all(answer["requests_per_day"]["remaining"] > 0 for answer in answers)


def test_a_gate_that_stays_away_is_an_error_that_may_be_tried_again() -> None:
    with (
        TwohopClient(f"http://127.0.0.1:{free_port()}/{CALLABLES}", "th_any", tries_max=2) as client,
        pytest.raises(TwohopError) as failed,
    ):
        client.infer(TEXT)

    assert failed.value.retryable


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Somebody on the way who answers instead of the gate."""

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.do_GET()

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing of each request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "body",
    [b"<h1>502 Bad Gateway</h1>", b'data: {"message": {"text": "a"}}\n\n', b"data: {\n\n"],
    ids=["a proxy's page", "cut off", "broken"],
)
def test_a_stream_that_ends_without_an_answer_is_an_error(body: bytes) -> None:
    """Whoever iterates must not take it for the whole text."""
    with answering(502, body) as url, TwohopClient(url, "th_any") as client, pytest.raises(TwohopError) as failed:
        list(client.stream(TEXT))

    assert failed.value.retryable


@pytest.mark.parametrize("body", [b"<h1>oops</h1>", b"{}"], ids=["no JSON", "no result"])
def test_an_answer_that_is_none_of_the_gates_is_an_error(body: bytes) -> None:
    with (
        answering(200, body) as url,
        TwohopClient(url, "th_any", tries_max=1) as client,
        pytest.raises(TwohopError) as failed,
    ):
        client.quota()

    assert failed.value.retryable


@pytest.mark.parametrize(("status", "body"), [(403, b"expired"), (200, b"<h1>")], ids=["refused", "no JSON"])
def test_an_answer_that_cannot_be_fetched_from_its_address_is_the_same_error(status: int, body: bytes) -> None:
    """A large answer lies elsewhere, and may be gone from there."""
    with answering(status, body) as elsewhere:
        job = {"job_id": "j", "state": "settled", "result_url": f"{elsewhere}/answer"}
        with (
            answering(200, json.dumps({"result": job}).encode()) as url,
            TwohopClient(url, "th_any") as client,
            pytest.raises(TwohopError) as failed,
        ):
            client.result("j")

    assert failed.value.retryable
