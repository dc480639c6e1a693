"""The real ledgers that can be driven, each empty, and waited for by the drive's virtual clock."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.connections import KeptConnections
from gate.exchanges import Exchanges, Reply, Timeouts
from gate.ledgers.firestore import FirestoreLedger
from gate.ledgers.sqlite import SqliteLedger
from twohop.errors import BadInputError
from twohop.prove.still import FlowingLedger, StillLedger
from twohop.prove.witness import sent

_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of its own is made in it
"""Where a sync of the disk takes no time. No power is cut in a drive, and that is all that a sync is for."""

_CONNECTIONS_MAX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A ledger with the owner's documents."""

    ledger: Any
    is_wired: bool = False
    """Whether what goes over the wire is told to `witness.sent`."""
    overlap: bool = False
    """Whether several calls may be under way at once."""


def check_store(kind: str) -> None:
    """Say at once what is missing.

    Raises:
        BadInputError: there is no emulator.
    """
    if kind == "firestore" and not os.environ.get("FIRESTORE_EMULATOR_HOST"):
        raise BadInputError("--ledger firestore: set FIRESTORE_EMULATOR_HOST to an emulator that runs")


def fresh_place(kind: str, folder: str) -> str:
    """Return where an empty ledger of this kind can be: a file in a folder, or a project of its own."""
    return str(Path(folder) / "ledger.sqlite3") if kind == "sqlite" else f"demo-{uuid.uuid4().hex[:12]}"


def ledger_at(kind: str, place: str, *, exchanges: Exchanges | None = None) -> Any:
    """Open the ledger there, with its documents; Firestore's, if asked, by another way to send requests."""
    return SqliteLedger(place) if kind == "sqlite" else FirestoreLedger(place, exchanges=exchanges)


@asynccontextmanager
async def open_store(kind: str, *, overlap: bool = False) -> AsyncIterator[Store]:
    """Open an empty `sqlite` or `firestore` ledger, whose calls come one at a time unless they may overlap."""
    make = FlowingLedger if overlap else StillLedger
    if kind == "firestore":
        project = fresh_place(kind, "")
        ledger = make(lambda: FirestoreLedger(project, exchanges=_CountedWire()))
        try:
            yield Store(ledger=ledger, is_wired=True, overlap=overlap)
        finally:
            await ledger.close()
        return
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        ledger = make(lambda: SqliteLedger(fresh_place(kind, folder)))
        try:
            yield Store(ledger=ledger, overlap=overlap)
        finally:
            await ledger.close()


class _CountedWire:
    """Sends requests, and counts what Firestore bills them as: commits and reads."""

    def __init__(self) -> None:
        self._connections = KeptConnections(connections_max=_CONNECTIONS_MAX, kept_seconds=5)

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Reply:
        """See `Exchanges.exchange`."""
        sent(is_commit=url.endswith(":commit"))
        return await self._connections.exchange(method, url, headers, body, timeouts)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()
