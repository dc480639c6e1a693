"""What tests that kill processes ask afterwards: who still lives, and what the ledger says."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from gate.domain.job import Job
from gate.guard.sweeper import Sweeper
from gate.ledgers.sqlite import SqliteLedger
from gate.log import EventLog
from gate.providers.container import ContainerProvider
from gate.service import Gate
from gate.steps.policy import Policies
from gate.steps.webhooks import Webhooks
from tests.makers import FakeClock, make_model
from twohop.loopback import free_port

PATIENCE_SECONDS = 20
_SECRET = b"s" * 32


def ends(pid: int) -> bool:
    """Wait for a process to end."""
    stat = Path(f"/proc/{pid}/stat")
    return until(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")


def until(holds: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> bool:
    """Wait until something holds; False if it does not come to."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


async def swept(folder: Path, *, at: datetime, provider_is_away: bool = False) -> int:
    """Sweep at a time, and return how many were lost. A provider that is away can be asked, and does not answer."""
    ledger, clock, log = ledger_in(folder), FakeClock(at), EventLog(sys.stderr)
    policies = Policies(documents=ledger, notifier=log, clock=clock, fresh_seconds=1)
    visit = None
    if provider_is_away:
        provider = ContainerProvider(url=f"http://127.0.0.1:{free_port()}/infer", worker_secret=_SECRET, clock=clock)
        webhooks = Webhooks(url="http://127.0.0.1/", secret=_SECRET)
        gate = Gate(
            policies=policies,
            ledger=ledger,
            provider=provider,
            model=make_model(),
            webhooks=webhooks,
            clock=clock,
            log=log,
        )
        visit = gate.follower.visit
    lost = await Sweeper(ledger=ledger, policies=policies, clock=clock, log=log, visit=visit).sweep()
    await ledger.close()
    return lost


async def jobs(folder: Path) -> list[Job]:
    """Return the ledger's jobs, the newest first."""
    ledger = ledger_in(folder)
    found = await ledger.jobs()
    await ledger.close()
    return found


async def counters(folder: Path, caller: str) -> Mapping[tuple[str, ...], int]:
    """Return what is counted for a caller."""
    ledger = ledger_in(folder)
    found = await ledger.counters(f"usage/{caller}")
    await ledger.close()
    return found


def ledger_in(folder: Path) -> SqliteLedger:
    """Open a dev server's ledger."""
    return SqliteLedger(str(folder / "ledger.sqlite3"))


def total(counted: Mapping[tuple[str, ...], int], name: str) -> int:
    """Add a counter up over the days: a test may run at midnight."""
    return sum(value for path, value in counted.items() if path[0] == "days" and path[2:] == (name,))
