"""`make dev` with a model that writes for as long as one likes: what the clients are tried against."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.dev.killing import ledger_in
from tests.dev.running import Dev, dev_running
from tests.makers import make_plan
from tests.worker.generation.makers import make_endless_writer

HASTY_READS_PER_MINUTE = 60
"""Of a caller at `hasty_dev`: so many at once, and then one a second."""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_endless_writer(tmp_path_factory.mktemp("models") / "tiny-llama"))


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory, model: str) -> Iterator[Dev]:
    with _generous(tmp_path_factory.mktemp("dev"), MODEL=model) as dev:
        yield dev


@pytest.fixture(scope="session")
def hasty_dev(tmp_path_factory: pytest.TempPathFactory, model: str) -> Iterator[Dev]:
    """One that holds no call open for longer than a second, and lets nobody read more often than once a second."""
    hasty = {"WAIT_SECONDS_MAX": "1", "READS_PER_MINUTE": str(HASTY_READS_PER_MINUTE)}
    with _generous(tmp_path_factory.mktemp("hasty"), MODEL=model, **hasty) as dev:
        yield dev


@contextmanager
def _generous(folder: Path, **settings: str) -> Iterator[Dev]:
    with dev_running(folder, EXECUTION_SECONDS_MAX="100", **settings) as dev:
        generous = msgspec.json.decode(msgspec.json.encode(make_plan()))
        asyncio.run(write_plan(folder, generous))
        yield dev


async def write_plan(folder: Path, plan: dict[str, Any]) -> None:
    ledger = ledger_in(folder)
    for name in ("anonymous", "free"):
        await ledger.write(f"plans/{name}", plan)
    await ledger.close()
    await asyncio.sleep(1.1)  # A dev server keeps a plan for a second.
