"""A SQLite file: opened, locked for writing, and brought to the disk.

What is committed is in SQLite's write-ahead log, and survives the process. To survive a power cut as well, the log
has to be synced; before SQLite copies anything out of it, it does so itself.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import time
from pathlib import Path

BUSY_SECONDS = 10.0
_BUSY_PAUSE_SECONDS = 0.002
_STATEMENTS_MAX = 512
"""Kept prepared."""


class SqliteFile:
    """One connection to a file, and the log beside it.

    Args:
        path: of the file; it is made if there is none, with its folder.
        schema: makes what is not there yet.

    Raises:
        sqlite3.Error, OSError: it cannot be opened.
    """

    def __init__(self, path: str, schema: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(
            path,
            timeout=0,  # A lock is waited for by `begin`.
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS_MAX,
        )
        _prepare(self.connection, schema)
        self._log = os.open(f"{path}-wal", os.O_RDWR)
        self._has_failed = False

    def begin(self, *, waits: bool) -> None:
        """Lock the file for writing. SQLite is told not to wait itself: it would do so on the event loop as well."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as exc:
                if not waits or not is_busy(exc) or time.monotonic() > deadline:
                    raise
                time.sleep(_BUSY_PAUSE_SECONDS)
            else:
                return

    def sync(self) -> None:
        """Bring to the disk what was committed.

        What a system has once failed to write, it takes for written. So after a failure only SQLite can say that all
        is well again: when it has copied all of the log into the file, and has synced that.

        Raises:
            sqlite3.Error, OSError: it is not known to be there.
        """
        failed_before, self._has_failed = self._has_failed, True
        if failed_before:
            self._copy_all()
        else:
            _to_disk(self._log)
        self._has_failed = False

    def close(self) -> None:
        """Let go of it."""
        self.connection.close()
        os.close(self._log)

    def _copy_all(self) -> None:
        (is_kept_from_it, *_) = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_kept_from_it:
            raise OSError(errno.EIO, "the disk did not take what was written, and others use the file")


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Tell whether a lock of somebody else's is all that is wrong."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _prepare(connection: sqlite3.Connection, schema: str) -> None:
    """Bring a file into shape. Where two processes do so at once, SQLite itself waits for neither."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.executescript(schema)
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_BUSY_PAUSE_SECONDS)
        else:
            return


def _to_disk(log: int) -> None:
    if sys.platform == "darwin":  # It has no `fdatasync`.
        os.fsync(log)
    else:
        os.fdatasync(log)
