"""What may be answered before it is on the disk: holds, up to a small sum that is on the disk beforehand.

To bring a hold to the disk takes a third of a call. So a hold need not wait for that while all that is owed and not
on the disk is within a *reserve*: a sum that the ledger's file names, with a mark of the process that may use it, and
with the boot of the machine. Owed is a job's worst case, or what it took once it has ended. Whoever finds the file
later finds one of these:

    the same boot     no power was cut: whatever process died, the system has kept what it wrote
    another boot      the file may lack so much: the reserve is counted as spent, and is no more
    no reserve        the ledger was closed, and the file lacks nothing

The file holds all up to some commit, and nothing after it. So a process may take the reserve from another: once that
is on the disk, so is all that the other one wrote before. Whoever does not have it waits for the disk at each hold.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gate.domain.job import Job
from gate.random_text import random_hex

SCHEMA = """
CREATE TABLE IF NOT EXISTS reserve (
    one INTEGER PRIMARY KEY CHECK (one = 1), boot TEXT NOT NULL, mark TEXT NOT NULL, microdollars INTEGER NOT NULL
);
"""
_HOLDS = 4
"""The reserve is so many worst cases: enough for calls that come one at a time, and for a few at once."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def this_boot() -> str | None:
    """Return what tells this run of the machine from any other; None where the system does not say, as on a Mac."""
    try:
        return _BOOT_ID.read_text("ascii").strip() or None
    except OSError:
        return None


class Reserve:
    """One process's use of it.

    Args:
        boot: as `this_boot` says; without one, nothing is ever covered.
    """

    def __init__(self, boot: str | None) -> None:
        self._boot = boot
        self._mark = ""
        self._is_known = False
        self._microdollars: int | None = None
        """What of it is ours."""
        self._owed: dict[str, int] = {}
        """In micro-dollars, by job, of all whose holds are not known to be on the disk."""
        self._owed_microdollars = 0

    def forget(self) -> None:
        """Take note that another process may have taken it, or that a transaction was undone."""
        self._is_known = False

    def find(self, connection: sqlite3.Connection) -> int:
        """See whose it is, and return what the same transaction has to count as spent: 0, but after a power cut."""
        if self._is_known:
            return 0
        self._is_known = True
        row = connection.execute("SELECT boot, mark, microdollars FROM reserve").fetchone()
        if row is None or row[:2] != (self._boot, self._mark):
            self._microdollars = None
        if row is None or row[0] == self._boot:
            return 0
        connection.execute("DELETE FROM reserve")
        return int(row[2])

    def take(self, connection: sqlite3.Connection, *, hold_microdollars: int) -> None:
        """Take it if it is not ours, or is too small for such holds. The transaction has to be synced."""
        wanted = _HOLDS * hold_microdollars
        if self._boot is None or (self._microdollars is not None and wanted <= self._microdollars):
            return
        self._mark, self._microdollars = random_hex(8), wanted
        connection.execute("INSERT OR REPLACE INTO reserve VALUES (1, ?, ?, ?)", (self._boot, self._mark, wanted))

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Leave none behind: what was written before this comes to the disk before it."""
        if self._microdollars is not None:
            connection.execute("DELETE FROM reserve WHERE mark = ?", (self._mark,))

    def hold(self, job: Job) -> None:
        """Take note of a job that is held."""
        self._owe(job.job_id, job.held_microdollars)

    def settle(self, job: Job) -> None:
        """Take note of what a job took. If its hold is on the disk, that is enough."""
        if job.job_id in self._owed:
            self._owe(job.job_id, job.settled_microdollars or 0)

    def covers(self) -> bool:
        """Tell whether a power cut may take all that is not on the disk."""
        return self._microdollars is not None and self._owed_microdollars <= self._microdollars

    def synced(self) -> None:
        """Take note that all that was written is on the disk."""
        self._owed.clear()
        self._owed_microdollars = 0

    def not_synced(self) -> None:
        """Take note that what was written may never come to the disk, the reserve with it: nothing is covered."""
        self._microdollars = None

    def _owe(self, job_id: str, microdollars: int) -> None:
        self._owed_microdollars += microdollars - self._owed.get(job_id, 0)
        self._owed[job_id] = microdollars
