"""Hosts that run jobs, on this machine: what a provider adapter talks to over a transport."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Protocol

import httpx

from gate import wire
from gate.over_httpx import OverHttpx
from gate.provider import Order
from tests.makers import NOON, FakeClock

ENDPOINT = "abc123endpoint"
API_KEY = "rpa_THE0API0KEY"
SECRET = b"the-worker-secret-of-these-tests-0001"
URL = "https://model.host.example/infer"
NOT_FOR_EARS = (ENDPOINT, API_KEY, SECRET.decode(), "host.example", "127.0.0.1", "runpod.ai", "Traceback")
"""What no message may repeat."""

_ids = itertools.count(1)


def make_order(**changes: Any) -> Order:
    body = wire.WorkBody(model="m", inputs="hello", parameters={}).encode()
    fields = {
        "job_id": f"job-{next(_ids)}",
        "body": body,
        "execution_ms_max": 30_000,
        "expires_at": NOON + timedelta(seconds=120),
    }
    return Order(**{**fields, **changes})


class Sleeper:
    """Sleeping that moves a clock instead of waiting."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.pauses: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.advance(seconds=seconds)


class Host(Protocol):
    """What a contract test does to a host, whatever its provider is."""

    @property
    def took(self) -> tuple[int, int]:
        """How long a finished job executes, and how long its worker started, in milliseconds."""

    @property
    def webhook(self) -> str | None:
        """Whom the host was told to tell of the latest job's end."""

    def lasts(self, outputs: Any) -> None:
        """Let the next job end well, and after the wait."""

    def finishes(self, outputs: Any) -> None:
        """Let the next job end well."""

    def streams(self, texts: Sequence[str], *, outputs: Any) -> None:
        """Let the next job write these texts before it ends well."""

    def refuses_the_input(self, message: str) -> None:
        """Let the worker find the next job's input at fault."""

    def crashes(self) -> None:
        """Let the worker break on the next job, with a traceback."""

    def refuses_the_key(self) -> None:
        """Let nobody in."""

    def is_away(self) -> None:
        """Take no connection."""

    def never_answers(self) -> None:
        """Take the request, and say nothing."""


@dataclass
class HttpDouble:
    """A host over a transport: notes each request, and answers by what `reply` says at the moment."""

    took: ClassVar[tuple[int, int]] = (150, 900)

    reply: Callable[[httpx.Request], httpx.Response]
    requests: list[httpx.Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.exchanges = OverHttpx(httpx.MockTransport(self._answer))

    def script(self, *replies: httpx.Response | Exception) -> None:
        """Answer with these, one after the other; the last one goes on for ever."""
        left = list(replies)

        def reply(_: httpx.Request) -> httpx.Response:
            answer = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(answer, Exception):
                raise answer
            # A response is read once only, so each request gets a copy.
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

        self.reply = reply

    def is_away(self) -> None:
        """See `Host`."""
        self.script(httpx.ConnectError(f"{URL}: all connection attempts failed"))

    def never_answers(self) -> None:
        """See `Host`."""
        self.script(httpx.ReadTimeout(f"{URL}: {API_KEY}"))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.reply(request)


class RunPodDouble(HttpDouble):
    """RunPod's job API as its documentation describes it, with Twohop's worker behind it."""

    def __init__(self, *, polls: int = 0) -> None:
        super().__init__(self._serve)
        self.polls = polls
        """How often a job is asked for before it has ended."""
        self.jobs: dict[str, dict[str, Any]] = {}
        self.ending: dict[str, Any] = {}
        self.texts: tuple[str, ...] = ()
        self.finishes("outputs")

    def finishes(self, outputs: Any) -> None:
        usage = wire.WorkUsage(execution_ms=120, start_ms=900)
        self._ends({"result": wire.WorkResult(outputs=outputs, usage=usage).to_json()})

    @property
    def webhook(self) -> str | None:
        told: str | None = json.loads(self.requests[-1].content).get("webhook")
        return told

    def lasts(self, outputs: Any) -> None:
        self.polls = max(self.polls, 3)
        self.finishes(outputs)

    def streams(self, texts: Sequence[str], *, outputs: Any) -> None:
        self.texts = tuple(texts)
        self.finishes(outputs)

    def refuses_the_input(self, message: str) -> None:
        failure = wire.WorkFailure(code="invalid-argument", message=message)
        usage = wire.WorkUsage(execution_ms=3)
        self._ends({"result": wire.WorkResult(failure=failure, usage=usage).to_json()})

    def crashes(self) -> None:
        error = f"Traceback (most recent call last):\n  File /app/{ENDPOINT}\nCUDA out of memory"
        self.ending = {"status": "FAILED", "error": error, "executionTime": 150, "delayTime": 20}

    def refuses_the_key(self) -> None:
        self.script(httpx.Response(401, json={"error": f"invalid key {API_KEY}"}))

    def _ends(self, output: Any) -> None:
        self.ending = {"status": "COMPLETED", "output": output, "executionTime": 150, "delayTime": 20}

    def _serve(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") != f"Bearer {API_KEY}":
            return httpx.Response(401)
        action, _, job_id = request.url.path.removeprefix(f"/v2/{ENDPOINT}/").partition("/")
        match request.method, action:
            case "POST", "run" | "runsync":
                return self._take(json.loads(request.content)["input"])
            case "GET", "health":
                workers = {"idle": 1, "running": 2, "initializing": 1, "throttled": 0}
                return httpx.Response(200, json={"jobs": {"inQueue": 3, "inProgress": 2}, "workers": workers})
            case "GET", "status" if job_id in self.jobs:
                return httpx.Response(200, json=self._step(job_id))
            case "GET", "stream" if job_id in self.jobs:
                return httpx.Response(200, json=self._streamed(job_id))
            case "POST", "cancel" if job_id in self.jobs:
                self.jobs[job_id]["cancelled"] = True
                return httpx.Response(200, json={"id": job_id, "status": "CANCELLED"})
        return httpx.Response(404, json={"error": "job not found"})

    def _take(self, envelope: dict[str, Any]) -> httpx.Response:
        wire.verify(wire.SignedRequest.from_envelope(envelope), secrets=[SECRET], now_ms=int(NOON.timestamp() * 1000))
        job_id = f"{next(_ids)}-u1"
        self.jobs[job_id] = {"polls": self.polls, "texts": list(self.texts)}
        if self.texts:
            return httpx.Response(200, json={"id": job_id, "status": "IN_QUEUE"})
        return httpx.Response(200, json=self._step(job_id))

    def _streamed(self, job_id: str) -> dict[str, Any]:
        """Tell one text a question, and the state of a job that has ended once there is none left."""
        texts = self.jobs[job_id]["texts"]
        if texts:
            return {"status": "IN_PROGRESS", "stream": [{"output": texts.pop(0)}]}
        return {"status": self._step(job_id)["status"], "stream": []}

    def _step(self, job_id: str) -> dict[str, Any]:
        job = self.jobs[job_id]
        if job.get("cancelled"):
            return {"id": job_id, "status": "CANCELLED"}
        job["polls"] -= 1
        if job["polls"] >= 0:
            return {"id": job_id, "status": "IN_QUEUE" if job["polls"] else "IN_PROGRESS", "delayTime": 5}
        return {"id": job_id, **self.ending}


class WorkerDouble(HttpDouble):
    """Twohop's worker behind plain HTTP."""

    def __init__(self, *, bearer: bool = False) -> None:
        super().__init__(self._serve)
        self.bearer = bearer
        self.signatures: set[str] = set()
        self.polls = 0
        self.kept: dict[str, dict[str, Any]] = {}
        self.ending = httpx.Response(200)
        self.finishes("outputs")

    def finishes(self, outputs: Any) -> None:
        usage = wire.WorkUsage(execution_ms=150, start_ms=900)
        self.ending = httpx.Response(200, json=wire.WorkResult(outputs=outputs, usage=usage).to_json())

    @property
    def webhook(self) -> str | None:
        told: str | None = self.requests[-1].headers.get(wire.WEBHOOK_HEADER)
        return told

    def lasts(self, outputs: Any) -> None:
        self.polls = 3
        self.finishes(outputs)

    def streams(self, texts: Sequence[str], *, outputs: Any) -> None:
        usage = wire.WorkUsage(execution_ms=150, start_ms=900)
        result = wire.WorkResult(outputs=outputs, usage=usage).to_json()
        events = [("part", {"text": text}) for text in texts] + [("progress", {"done": 1, "total": 1})]
        told = [f"event: {name}\ndata: {json.dumps(fields, ensure_ascii=False)}\n\n" for name, fields in events]
        end = f": still at work\n\nevent: result\ndata: {json.dumps(result)}\n\n"
        headers = {"content-type": "text/event-stream"}
        self.ending = httpx.Response(200, content="".join([*told, end]).encode(), headers=headers)

    def refuses_the_input(self, message: str) -> None:
        failure = wire.WorkFailure(code="invalid-argument", message=message)
        self.ending = httpx.Response(422, json=wire.WorkResult(failure=failure).to_json())

    def crashes(self) -> None:
        self.ending = httpx.Response(500, text=f"Traceback: {URL} {SECRET.decode()}")

    def refuses_the_key(self) -> None:
        self.ending = httpx.Response(401, json={"error": {"code": "unauthenticated", "message": SECRET.decode()}})

    def _serve(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and request.url.path == "/readyz":
            return httpx.Response(200, json={"status": "ready"})
        word, _, job_id = request.url.path.removeprefix("/").partition("/")
        if word in ("status", "cancel"):
            return self._asked(request, word, job_id)
        if request.method != "POST" or word not in ("infer", "run"):
            return httpx.Response(404)
        self._check(request, request.content)
        if word == "run" and self.polls:
            job_id = request.headers[wire.JOB_HEADER]
            self.kept[job_id] = {"id": job_id, "status": "IN_PROGRESS"}
            return httpx.Response(202, json=self.kept[job_id])
        return httpx.Response(self.ending.status_code, content=self.ending.content, headers=self.ending.headers)

    def _asked(self, request: httpx.Request, word: str, job_id: str) -> httpx.Response:
        self._check(request, word.encode())
        assert request.headers[wire.JOB_HEADER] == job_id
        job = self.kept.get(job_id)
        if job is None:
            return httpx.Response(404)
        self.polls -= 1
        if word == "cancel":
            job |= {"status": "CANCELLED", "usage": {"execution_ms": 40}}
        elif job["status"] == "IN_PROGRESS" and self.polls <= 0:
            job |= {"status": "COMPLETED", "result": json.loads(self.ending.content)}
        return httpx.Response(200, json=job)

    def _check(self, request: httpx.Request, body: bytes) -> None:
        """Check a request as the worker does; an assertion here is a bug of the adapter."""
        if self.bearer:
            assert request.headers["authorization"] == f"Bearer {SECRET.decode()}"
            return
        signed = wire.SignedRequest.from_headers(dict(request.headers), body)
        wire.verify(signed, secrets=[SECRET], now_ms=signed.issued_ms)
        assert signed.signature not in self.signatures
        self.signatures.add(signed.signature)
