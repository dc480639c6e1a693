"""A token that is revoked at a time is refused by the first call after it, by every instance and at every door.

Two processes over one ledger: what one of them does, the other one learns by no message.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from subprocess import PIPE, Popen
from typing import Any

import httpx
import pytest

from gate.callers.dev import DevSignIn
from gate.parts import SystemClock, open_store
from gate.settings import LedgerKind
from tests.api.test_every_route import FREE, HOLDING, MODEL
from tests.dev.killing import until
from tests.emulators import firestore_emulator, fresh_project
from tests.gate.doubles import fill
from tests.makers import make_documents

DOORS = {name: body for name, body in {**HOLDING, **FREE}.items() if name not in ("webhook", "tokens")}
"""Tokens are no credential for `tokens`, and a webhook's address is one by itself."""
AGAIN = {"data": {"inputs": "a", "idempotency_key": "before"}}
_SECRET = "d" * 64
_CALLS_BEFORE = 20


@dataclass(frozen=True)
class Instance:
    """One process of hop 1."""

    url: str
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))

    def call(self, name: str, body: Any, token: str) -> httpx.Response:
        method, _, path = name.rpartition(" ")
        path = path.replace("{model:path}", MODEL) if method else f"/demo/us-central1/{name}"
        headers = {"authorization": f"Bearer {token}"}
        return self.http.request(method or "POST", self.url + path, json=body, headers=headers)


class House:
    """Two instances, and the one who owns the token."""

    def __init__(self, first: Instance, second: Instance) -> None:
        self.first, self.second = first, second
        self._alice = DevSignIn(secret=_SECRET, clock=SystemClock(), deployed=False).mint("alice")

    def made(self) -> tuple[str, str]:
        """Make a token by the first instance, and return it with its id."""
        action = {"action": "create", "label": "script", "lifetime": "hour"}
        made = self.first.call("tokens", {"data": action}, self._alice).raise_for_status().json()["result"]
        return made["token"], made["token_id"]

    def end(self, token_id: str, action: str) -> None:
        """End a token by the first instance; when this returns, its owner has been told so."""
        asked = {"data": {"action": action, "token_id": token_id}}
        self.first.call("tokens", asked, self._alice).raise_for_status()


@contextmanager
def instances(ledger: dict[str, str]) -> Iterator[House]:
    env = {
        **os.environ,
        "SIGN_IN": "dev",
        "DEV_SIGN_IN_SECRET": _SECRET,
        "WORKER_SECRET": "w" * 64,
        "TOKEN_SECRET": "t" * 64,
        "PYTHONPATH": os.pathsep.join(sys.path),
        **ledger,
    }
    command = [sys.executable, "-m", "tests.api.instance"]
    processes = [Popen(command, stdout=PIPE, text=True, env=env) for _ in range(2)]
    try:
        first, second = (Instance(process.stdout.readline().strip()) for process in processes if process.stdout)
        yield House(first, second)
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def _fill(kind: LedgerKind, **where: str) -> None:
    store = open_store(kind, **where)
    await fill(store, make_documents())
    await store.close()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("firestore", marks=pytest.mark.emulator)])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    kind = LedgerKind(request.param)
    path, project, ledger = str(tmp_path_factory.mktemp("shared") / "ledger"), "", {"LEDGER": kind.value}
    with pytest.MonkeyPatch.context() as patched:
        if kind is LedgerKind.FIRESTORE:
            patched.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())
            ledger["GCLOUD_PROJECT"] = project = fresh_project()
        else:
            ledger["SQLITE_PATH"] = path
        asyncio.run(_fill(kind, project=project, sqlite_path=path))
        with instances(ledger) as house:
            yield house


@pytest.mark.parametrize("action", ["revoke", "delete"])
def test_its_next_call_is_refused_by_both_instances_at_every_door(house: House, action: str) -> None:
    """Also one that repeats what was answered to it before: no instance remembers that a token was good."""
    token, token_id = house.made()
    both = (house.second, house.first)
    for instance in both:
        assert instance.call("infer", AGAIN, token).status_code == 200
        assert instance.call("GET /v1/models", None, token).status_code == 200

    house.end(token_id, action)

    for name, body in (*DOORS.items(), ("infer", AGAIN)):
        assert [each.call(name, body, token).status_code for each in both] == [401, 401], name


@pytest.mark.parametrize("door", ["infer", "quota"])
def test_no_call_that_begins_after_it_is_let_in_however_busy_the_token_is(house: House, door: str) -> None:
    """Another instance answers with that token all the time, a door that holds and one that does not."""
    token, token_id = house.made()
    told: list[tuple[float, int]] = []
    stopping = threading.Event()

    def hammer() -> None:
        instance = Instance(house.second.url)  # with a connection of its own
        while not stopping.is_set():
            began = time.monotonic()
            told.append((began, instance.call(door, DOORS[door], token).status_code))

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert until(lambda: len(told) >= _CALLS_BEFORE)
    house.end(token_id, "revoke")
    revoked_at = time.monotonic()
    before = len(told)
    assert until(lambda: len(told) >= before + _CALLS_BEFORE)
    stopping.set()
    for thread in threads:
        thread.join()

    assert {status for began, status in told if began > revoked_at} == {401}
    assert 200 in {status for _, status in told}
