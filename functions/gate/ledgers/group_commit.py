"""One SQLite connection on one thread, which commits all that is waiting at once.

A commit that survives a power cut costs a sync of the disk. Work that arrives while one is under way shares the
next, so the price of a sync is paid once for many callers and no caller is told "done" before it is.

Work that a power cut may take back need not wait for the disk: it is written before it is answered, so that the
process may die, and is synced with what comes next, or after a moment. What may be so is said by whoever does it.

Handing work to a thread and hearing of its end takes as long as the work. So who is alone does it at once, on the
event loop; a file that another process has locked is waited for by the thread all the same.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import msgspec

from gate.errors import GateError, LedgerError
from gate.ledgers._sqlite_file import SqliteFile, is_busy

_Result = TypeVar("_Result")
_Work = Callable[[sqlite3.Connection], Any]

_GROUP_MAX = 256
_REST_SECONDS = 0.05
"""So long what need not wait for the disk is kept from it: others may come that are synced with it."""
_CROWD_SECONDS = 0.1
_REMEDIES = {
    sqlite3.SQLITE_NOTADB: "SQLITE_PATH names a file that is something else; name another, and it is made",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; put back a copy of it, or name another in SQLITE_PATH",
    sqlite3.SQLITE_CANTOPEN: "can SQLITE_PATH, and its folder, be written to?",
    sqlite3.SQLITE_READONLY: "can SQLITE_PATH, and its folder, be written to?",
    sqlite3.SQLITE_FULL: "make room on the disk of SQLITE_PATH",
}
_BUSY = object()
"""The outcome of what could not be done at once."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What came of things that were asked for."""

    outcomes: Sequence[Any]
    """Of each a result, or an exception that left nothing behind."""
    is_safe: bool
    """Whether they may be answered before they are on the disk."""


class Together(Protocol):
    """Does several things in one go, inside a transaction."""

    def run(self, connection: sqlite3.Connection, asked: Sequence[Any]) -> Done:
        """Do what is asked for."""
        ...

    def forget(self) -> None:
        """Take note that a transaction was undone."""
        ...

    def synced(self) -> None:
        """Take note that all that was written is on the disk."""
        ...

    def not_synced(self) -> None:
        """Take note that the disk did not take what was written: nothing is safe until it did."""
        ...

    def close(self, connection: sqlite3.Connection) -> None:
        """Do the last thing before the file is closed."""
        ...

    def is_alone(self, asked: Any) -> bool:
        """Tell whether nobody else has anything under way here, who would have to wait while this is done."""
        ...


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    future: asyncio.Future[Any] | None = None
    work: _Work | None = None
    asked: Any = None
    """For `Together`, if there is no work."""
    reads: bool = False
    """Whether the work changes nothing."""


class GroupCommit:
    """Runs functions of a connection, each all or nothing, several to a commit."""

    def __init__(self, path: str, schema: str, together: Together) -> None:
        self._path = path
        self._schema = schema
        self._together = together
        self._waiting: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._crowded_until = 0.0
        self._turn = threading.Lock()
        """Whoever has it may use what follows."""
        self._file: SqliteFile | None = None
        self._sync_by: float | None = None
        """When what was written has to be on the disk; None if all is."""
        self._resting = True
        """Whether the thread would not see by itself that something is to be brought to the disk."""

    async def run(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run `work` and return its result once it is on the disk.

        Raises:
            LedgerError: the file cannot be opened, locked or written; nothing of `work` stands.
        """
        result: _Result = await self._submit(work=work)
        return result

    async def read(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Do as `run`, for work that changes nothing: there is nothing of it to undo.

        Raises:
            LedgerError: as `run`.
        """
        result: _Result = await self._submit(work=work, reads=True)
        return result

    def ask(self, asked: Any) -> asyncio.Future[Any]:
        """Have something done together with others; see `Together`. It is, whether or not its end is awaited.

        Raises:
            LedgerError: as `run`.
        """
        if self._is_quiet() and self._together.is_alone(asked):
            outcome = self._at_once(asked)
            if outcome is not _BUSY:
                done = asyncio.get_running_loop().create_future()
                _resolve([(done, outcome)])
                return done
        return self._submit(asked=asked)

    async def close(self) -> None:
        """Finish what is waiting, then close the file."""
        with self._lock:
            thread, was_closed, self._closed = self._thread, self._closed, True
            if thread and not was_closed:
                self._waiting.put(None)
        if thread:
            await asyncio.to_thread(thread.join)

    def _submit(self, **fields: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._closed:
                future.set_exception(LedgerError("the ledger is closed"))
                return future
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="sqlite-ledger", daemon=True)
                self._thread.start()
            self._waiting.put(_Item(future=future, **fields))
        return future

    def _is_quiet(self) -> bool:
        """Tell whether nothing waits, and nothing came together lately: others would wait for the event loop."""
        return self._file is not None and self._waiting.empty() and time.monotonic() > self._crowded_until

    def _at_once(self, asked: Any) -> Any:
        """Do it here and now, unless the connection or the file is taken."""
        if self._closed or not self._turn.acquire(blocking=False):
            return _BUSY
        try:
            (outcome,) = self._outcomes([_Item(asked=asked)], waits=False)
        finally:
            self._turn.release()
        if isinstance(outcome, sqlite3.OperationalError) and is_busy(outcome):
            return _BUSY
        if self._sync_by is not None and self._resting:
            self._submit(work=lambda _: None, reads=True)
        return outcome

    def _serve(self) -> None:
        while group := self._next_group():
            if len(group) > 1:
                self._crowded_until = time.monotonic() + _CROWD_SECONDS
            with self._turn:
                outcomes = self._outcomes(group, waits=True)
            _tell(group, outcomes)
        if self._file:
            with suppress(sqlite3.Error):
                self._together.close(self._file.connection)
            self._file.close()

    def _outcomes(self, group: Sequence[_Item], *, waits: bool) -> Sequence[Any]:
        """Do what a group asks for, and return what came of each; of an error of the file's, the same for all."""
        try:
            if self._file is None:
                self._file = SqliteFile(self._path, self._schema)
            return self._commit(self._file, group, waits=waits)
        except (sqlite3.Error, OSError) as exc:
            self._together.forget()
            return [exc] * len(group)

    def _next_group(self) -> list[_Item]:
        """Wait for work, then take all there is. An empty group means that the ledger was closed."""
        group: list[_Item] = []
        item = self._next()
        while item is not None:
            group.append(item)
            if len(group) == _GROUP_MAX or self._waiting.empty():
                return group
            item = self._waiting.get()
        if group:
            self._waiting.put(None)
        return group

    def _next(self) -> _Item | None:
        """Wait for work, and bring to the disk meanwhile what was written without waiting for it."""
        while True:
            with self._turn:
                seconds = self._seconds_to_sync()
                self._resting = seconds is None
            try:
                with suppress(queue.Empty):
                    return self._waiting.get(timeout=seconds)
            finally:
                self._resting = False

    def _seconds_to_sync(self) -> float | None:
        """Sync if it is time to; return how long it is until then, or None if all is on the disk."""
        if self._file is None or self._sync_by is None:
            return None
        seconds = self._sync_by - time.monotonic()
        if seconds > 0:
            return seconds
        with suppress(sqlite3.Error, OSError):  # The next hold is told of it.
            self._sync(self._file)
            return None
        return _REST_SECONDS

    def _sync(self, file: SqliteFile) -> None:
        try:
            file.sync()
        except BaseException:
            self._together.not_synced()
            raise
        self._sync_by = None
        self._together.synced()

    def _commit(self, file: SqliteFile, group: Sequence[_Item], *, waits: bool) -> list[Any]:
        """Run a group in one transaction, and return what came of each."""
        connection = file.connection
        file.begin(waits=waits)
        try:
            outcomes = [item.work and _outcome(connection, item.work, undo=not item.reads) for item in group]
            is_safe = all(item.work is None or item.reads for item in group)
            asked = [(place, item.asked) for place, item in enumerate(group) if item.work is None]
            if asked:
                done = self._together.run(connection, [one for _, one in asked])
                is_safe = is_safe and done.is_safe
                for (place, _), outcome in zip(asked, done.outcomes, strict=True):
                    outcomes[place] = outcome
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        if asked or not is_safe:
            self._sync_by = self._sync_by or time.monotonic() + _REST_SECONDS
        if not is_safe:
            self._sync(file)
        return outcomes


def _outcome(connection: sqlite3.Connection, work: _Work, *, undo: bool) -> Any:
    """Return the work's result, or its exception. Work that fails is undone alone."""
    if undo:
        connection.execute("SAVEPOINT work")
    try:
        result = work(connection)
    except sqlite3.OperationalError:
        raise  # The file itself is in trouble: the whole group fails.
    except Exception as exc:
        if undo:
            connection.execute("ROLLBACK TO work")
            connection.execute("RELEASE work")
        return exc
    if undo:
        connection.execute("RELEASE work")
    return result


def _tell(group: Sequence[_Item], outcomes: Sequence[Any]) -> None:
    """Give each caller its outcome, by one wake-up for all callers of an event loop."""
    told: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for item, outcome in zip(group, outcomes, strict=True):
        assert item.future is not None, "who does it at once is told at once"
        told.setdefault(item.future.get_loop(), []).append((item.future, outcome))
    for loop, its in told.items():
        with suppress(RuntimeError):  # Its loop was closed; what was committed stands.
            loop.call_soon_threadsafe(_resolve, its)


def _resolve(its: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in its:
        if future.done():
            continue  # Its caller went away; what was committed stands.
        if isinstance(outcome, Exception):
            future.set_exception(_told_as(outcome))
        else:
            future.set_result(outcome)


def _told_as(error: Exception) -> GateError:
    if isinstance(error, GateError):
        return error
    remedy = _REMEDIES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    return LedgerError(f"SQLite: {type(error).__name__}: {error}{f'; {remedy}' if remedy else ''}")
