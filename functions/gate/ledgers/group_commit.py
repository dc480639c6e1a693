"""One SQLite connection on one thread, which commits all that is waiting at once.

A commit that survives a power cut costs a sync of the disk. Work that arrives while one is under way shares the
next, so the price of a sync is paid once for many callers and no caller is told "done" before it is.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from gate.errors import GateError, LedgerError

_Result = TypeVar("_Result")
_Work = Callable[[sqlite3.Connection], Any]
_Item = tuple[_Work, "Future[Any]"]

_BUSY_SECONDS = 10.0
_GROUP_MAX = 256


class GroupCommit:
    """Runs functions of a connection, each all or nothing, several to a commit."""

    def __init__(self, path: str, schema: str) -> None:
        self._path = path
        self._schema = schema
        self._waiting: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run `work` and return its result once it is on the disk.

        Raises:
            LedgerError: the file cannot be opened, locked or written; nothing of `work` stands.
        """
        future: Future[Any] = Future()
        self._submit((work, future))
        result: _Result = await asyncio.wrap_future(future)
        return result

    async def close(self) -> None:
        """Finish what is waiting, then close the file."""
        with self._lock:
            thread, was_closed, self._closed = self._thread, self._closed, True
            if thread and not was_closed:
                self._waiting.put(None)
        if thread:
            await asyncio.to_thread(thread.join)

    def _submit(self, item: _Item) -> None:
        with self._lock:
            if self._closed:
                raise LedgerError("the ledger is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="sqlite-ledger", daemon=True)
                self._thread.start()
            self._waiting.put(item)

    def _serve(self) -> None:
        connection: sqlite3.Connection | None = None
        while group := self._next_group():
            try:
                connection = connection or self._open()
                _commit(connection, group)
            except (sqlite3.Error, OSError) as exc:
                _fail(group, exc)
        if connection:
            connection.close()

    def _next_group(self) -> list[_Item]:
        """Wait for work, then take all there is. An empty group means that the ledger was closed."""
        group: list[_Item] = []
        item = self._waiting.get()
        while item is not None:
            group.append(item)
            if len(group) == _GROUP_MAX or self._waiting.empty():
                return group
            item = self._waiting.get()
        if group:
            self._waiting.put(None)
        return group

    def _open(self) -> sqlite3.Connection:
        Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(self._schema)
        return connection


def _commit(connection: sqlite3.Connection, group: list[_Item]) -> None:
    """Run a group in one transaction. Work that fails is undone alone; the others' results wait for the commit."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        outcomes = [_outcome(connection, work) for work, _ in group]
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    for (_, future), (result, error) in zip(group, outcomes, strict=True):
        _resolve(future, result, error)


def _outcome(connection: sqlite3.Connection, work: _Work) -> tuple[Any, Exception | None]:
    connection.execute("SAVEPOINT work")
    try:
        result = work(connection)
    except sqlite3.OperationalError:
        raise  # The file itself is in trouble: the whole group fails.
    except Exception as exc:
        connection.execute("ROLLBACK TO work")
        connection.execute("RELEASE work")
        return None, exc
    connection.execute("RELEASE work")
    return result, None


def _resolve(future: Future[Any], result: Any, error: Exception | None) -> None:
    if not future.set_running_or_notify_cancel():
        return  # Its caller went away; what was committed stands.
    if error is None:
        future.set_result(result)
    elif isinstance(error, GateError):
        future.set_exception(error)
    else:
        future.set_exception(LedgerError(f"SQLite: {type(error).__name__}: {error}"))


def _fail(group: list[_Item], error: Exception) -> None:
    for _, future in group:
        _resolve(future, None, error)
