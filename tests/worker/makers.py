"""Makers of what the worker's tests need: secrets, signed requests, a clock, an engine that takes no model."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import threading
from collections.abc import Sequence
from typing import Any

from gate import wire
from worker.engine import Item, Work
from worker.jobs.service import Service
from worker.log import EventLog
from worker.settings import Limits, Settings, Task

SECRET = "a-secret-of-the-tests-" + "0" * 32
PREVIOUS_SECRET = "an-older-secret-of-the-tests-" + "1" * 32
FOREIGN_SECRET = "somebody-elses-secret-" + "2" * 32
MODEL = "tiny"
NOON_MS = 1_795_262_400_000

_ids = itertools.count(1)


class FakeClock:
    """A clock that stands still until it is told to move."""

    def __init__(self) -> None:
        self.ms = 0

    def now_ms(self) -> int:
        return NOON_MS + self.ms

    def monotonic_ms(self) -> float:
        return float(self.ms)


class EchoEngine:
    """Answers with its inputs. Told to fail or to wait by the inputs themselves."""

    def __init__(self) -> None:
        self.ran: list[Any] = []
        self.waiting = threading.Event()
        self.go_on = threading.Event()

    def import_libraries(self) -> None:
        pass

    def load(self) -> None:
        pass

    def prepare(self, body: wire.WorkBody) -> Work:
        return Work(items=[Item(length=7, payload=body.inputs)], finish=lambda rows: rows[0])

    def compute(self, items: Sequence[Item]) -> Sequence[Any]:
        self.ran += [item.payload for item in items]
        if any(item.payload == "crash" for item in items):
            raise RuntimeError("/a/path with details")
        if any(item.payload == "wait" for item in items):
            self.waiting.set()
            assert self.go_on.wait(20)
        return [item.payload for item in items]


def make_settings(*, secrets: tuple[str, ...] = (SECRET,), **limits: int) -> Settings:
    return Settings(
        secrets=tuple(secret.encode() for secret in secrets),
        model="",
        model_name=MODEL,
        task=Task.AUTO,
        host="127.0.0.1",
        port=0,
        stop_seconds_max=30,
        limits=Limits(**limits),
    )


class Bench:
    """A service with everything around it in the test's hands."""

    def __init__(self, *, loaded: bool = True, **settings: Any) -> None:
        self.clock, self.engine, self.stream = FakeClock(), EchoEngine(), io.StringIO()
        self.settings = make_settings(**settings)
        self.service = Service(self.settings, clock=self.clock, log=EventLog(self.stream))
        if loaded:
            self.clock.ms += 1_234
            self.service.load(lambda: self.engine, began_ms=0).result(20)
            self.engine.ran.clear()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def run(self, request: wire.SignedRequest) -> wire.WorkResult:
        self.service.admit(request)
        return asyncio.run(self.service.answer(request))


def make_request(inputs: Any = "hello", *, now_ms: int = NOON_MS, valid_ms: int = 60_000, **changes: Any) -> Any:
    """Return a signed request. `secret`, `model`, `parameters`, `body` and `job_id` may be given."""
    work = wire.WorkBody(model=changes.get("model", MODEL), inputs=inputs, parameters=changes.get("parameters", {}))
    return wire.sign(
        secret=changes.get("secret", SECRET).encode(),
        job_id=changes.get("job_id", f"job-{next(_ids)}"),
        body=changes["body"] if "body" in changes else work.encode(),
        issued_ms=now_ms,
        expires_ms=now_ms + valid_ms,
    )
