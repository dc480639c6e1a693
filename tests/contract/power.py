"""A disk that can be cut off: it keeps what was synced of a ledger's log, and perhaps some of what came after."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


class Disk:
    """Stands in for `os.fdatasync`. While SQLite copies nothing out of its log, what is synced is its beginning."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncs = 0
        self.is_broken = False
        self._synced_bytes = 0
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, log: int) -> None:
        if self.is_broken:
            raise OSError("the disk is gone")
        self.syncs += 1
        self._synced_bytes = os.fstat(log).st_size

    def cut(self, path: str, copy: Path, *, luck: float = 0.0) -> str:
        """Return what a power cut leaves of a ledger: what was synced, and so much of the rest, down to the byte."""
        log = Path(f"{path}-wal").read_bytes()
        kept = self._synced_bytes + int(luck * (len(log) - self._synced_bytes))
        copy.mkdir()
        shutil.copy(path, copy / "ledger.sqlite3")
        (copy / "ledger.sqlite3-wal").write_bytes(log[:kept])
        return str(copy / "ledger.sqlite3")
