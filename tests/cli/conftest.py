"""A ledger with something in it, and an operator who types."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from click.testing import CliRunner, Result

from gate.domain import meter
from gate.domain.job import Job, Settlement
from gate.parts import Store, open_store
from gate.ports import Admitted
from gate.settings import LedgerKind
from tests.emulators import firestore_emulator, fresh_project
from tests.makers import GENEROUS, OPEN_CONFIG, FakeClock, make_job
from twohop.cli import cli

_Result = TypeVar("_Result")

_VARIABLES = ("LEDGER", "GCLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT", "SQLITE_PATH", "FIRESTORE_EMULATOR_HOST")
DEV_LEDGER = ".twohop/ledger.sqlite3"


class Operator:
    """Types commands in a folder, on a terminal of 80 columns, at a time that tests set."""

    def __init__(self, *options: str, kind: LedgerKind, project: str = "") -> None:
        self.clock = FakeClock()
        self._options = options
        self._kind = kind
        self._project = project

    def types(self, line: str) -> Result:
        """Run a command line."""
        return CliRunner().invoke(cli, [*self._options, *shlex.split(line)], obj=self.clock, env={"COLUMNS": "80"})

    def reads(self, line: str) -> Any:
        """Run a command line that must go well, with --json, and return what it says."""
        result = self.types(f"{line} --json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def in_ledger(self, work: Callable[[Store], Awaitable[_Result]]) -> _Result:
        """Do something with the ledger itself, as the gate does."""

        async def opened() -> _Result:
            store = open_store(self._kind, project=self._project, sqlite_path=DEV_LEDGER)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(opened())

    def holds(self, job: Job, settlement: Settlement | None = None) -> None:
        """Hold a job on its shard, which may have nothing left, and settle it if it is said how."""

        async def work(store: Store) -> None:
            moves = meter.moves_to_hold(job, GENEROUS, OPEN_CONFIG)
            held = await store.hold(job, [msgspec.structs.replace(move, limit=None) for move in moves])
            assert isinstance(held, Admitted)
            if settlement:
                await store.settle(held.job, settlement, at=job.held_at)

        self.in_ledger(work)

    def stored(self, path: str) -> dict[str, Any]:
        """Return a document that must be there, without the ledger's own mark."""
        document = self.in_ledger(lambda store: store.read(path))
        assert document is not None
        return {name: value for name, value in document.items() if name != "schema_version"}

    def stores(self, path: str, document: dict[str, Any]) -> None:
        """Write a document as somebody in the console would, malformed if need be."""
        self.in_ledger(lambda store: store.write(path, document))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, and an environment that says nothing."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def operator() -> Operator:
    """An operator beside a dev ledger that `twohop init` has just made."""
    operator = Operator(kind=LedgerKind.SQLITE)
    assert operator.types(f"--sqlite-path {DEV_LEDGER} init").exit_code == 0
    return operator


@pytest.fixture(params=["sqlite", pytest.param("firestore", marks=pytest.mark.emulator)])
def anywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """The same operator on either ledger."""
    if request.param == "firestore":
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())
        project = fresh_project()
        operator = Operator("--project", project, kind=LedgerKind.FIRESTORE, project=project)
    else:
        operator = Operator("--sqlite-path", DEV_LEDGER, kind=LedgerKind.SQLITE)
    assert operator.types("init").exit_code == 0
    return operator


def job_of(caller: str, **changes: Any) -> Job:
    """Return a job that holds a cent and a minute."""
    return make_job(caller=caller, held_microdollars=10_000, held_gpu_ms=60_000, **changes)
