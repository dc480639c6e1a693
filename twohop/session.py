"""One run of the command: opens the ledger that is meant, says on stderr which, does the work, and closes it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from gate.errors import LedgerError
from gate.ports import Clock
from gate.settings import LedgerKind
from twohop.configured import ConfiguredLedger, LedgerOptions, configured_ledger
from twohop.errors import BadInputError

if TYPE_CHECKING:
    from gate.parts import Store

_Result = TypeVar("_Result")

_WHO_ARE_YOU = (
    "Google does not know who is asking; run `gcloud auth application-default login`, "
    "or set GOOGLE_APPLICATION_CREDENTIALS to a service account's key file"
)


class Session:
    """What every command needs: a ledger and the time.

    Args:
        options: what was typed about the ledger.
        clock: the machine's own if None.
    """

    def __init__(self, options: LedgerOptions, *, clock: Clock | None = None) -> None:
        self._options = options
        self._clock = clock
        self._told = False

    @property
    def clock(self) -> Clock:
        """The clock of this run."""
        from gate.parts import SystemClock

        return self._clock or SystemClock()

    @property
    def ledger(self) -> ConfiguredLedger:
        """The ledger that is meant.

        Raises:
            BadInputError: nothing says which.
        """
        return configured_ledger(self._options, env=os.environ, folder=Path())

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self.clock.now()

    def ledger_name(self) -> str:
        """Return what the ledger is called: the project's id, or the file.

        Raises:
            BadInputError: as `run`.
        """
        ledger = configured_ledger(self._options, env=os.environ, folder=Path())
        return ledger.project or ledger.sqlite_path

    def run(self, work: Callable[[Store], Awaitable[_Result]], *, may_create: bool = False) -> _Result:
        """Do some work with the ledger.

        Raises:
            BadInputError: it is not said which ledger, or its file is not there and may not be created.
            LedgerError: it cannot be reached.
        """
        ledger = self.ledger
        self._tell_once(ledger)
        # Opening a SQLite file creates it: a mistyped path would then look like a ledger with nothing in it.
        if ledger.kind is LedgerKind.SQLITE and not may_create and not Path(ledger.sqlite_path).exists():
            raise BadInputError(f"there is no ledger at {ledger.sqlite_path}; `make dev` or `twohop init` makes one")
        try:
            return asyncio.run(_work_with(ledger, work))
        except LedgerError as exc:
            raise LedgerError(_with_remedy(exc, ledger)) from exc

    def _tell_once(self, ledger: ConfiguredLedger) -> None:
        if not self._told:
            click.secho(f"ledger: {ledger}", err=True, dim=True)
        self._told = True


async def _work_with(ledger: ConfiguredLedger, work: Callable[[Store], Awaitable[_Result]]) -> _Result:
    from gate.parts import open_store

    store = open_store(ledger.kind, project=ledger.project, sqlite_path=ledger.sqlite_path)
    try:
        return await work(store)
    finally:
        await store.close()


def _with_remedy(error: LedgerError, ledger: ConfiguredLedger) -> str:
    """Return what went wrong, with what to do about it where that is known."""
    text = str(error)
    if any(type(cause).__module__ == "google.auth.exceptions" for cause in _causes(error)):
        return _WHO_ARE_YOU
    if ledger.emulator and "failed to connect" in text:
        return f"no emulator answers at {ledger.emulator}; start it, or unset FIRESTORE_EMULATOR_HOST to use Google's"
    if any(name in text for name in ("PermissionDenied", "NotFound")):
        console = f"https://console.firebase.google.com/project/{ledger.project}/firestore"
        return f"{text}; look whether the database is there and yours: {console}"
    return text


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
