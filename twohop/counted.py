"""What a caller's counters say about a day and a month."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from gate.ports import Ledger

IN_FLIGHT = ("in_flight",)

ACCOUNTS_MAX = 1000
_READS_AT_ONCE = 50

Counters = Mapping[tuple[str, ...], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Requests, GPU time and money of one period. Running jobs are in it with their hold."""

    requests: int = 0
    gpu_ms: int = 0
    microdollars: int = 0

    def __bool__(self) -> bool:
        return bool(self.requests or self.gpu_ms or self.microdollars)

    def __add__(self, other: Counted) -> Counted:
        return Counted(
            requests=self.requests + other.requests,
            gpu_ms=self.gpu_ms + other.gpu_ms,
            microdollars=self.microdollars + other.microdollars,
        )

    def as_json(self) -> dict[str, float]:
        """Return it as `--json` shows it."""
        return {
            "requests": self.requests,
            "gpu_seconds": self.gpu_ms / 1000,
            "microdollars": self.microdollars,
        }


async def counters_under(ledger: Ledger, prefix: str) -> dict[str, Counters]:
    """Return the counters of every account under a prefix such as `usage/`, by name; of the first 1000."""
    accounts = await ledger.accounts(prefix, limit=ACCOUNTS_MAX)
    turns = asyncio.Semaphore(_READS_AT_ONCE)

    async def counters(account: str) -> Counters:
        async with turns:
            return await ledger.counters(account)

    found = await asyncio.gather(*(counters(account) for account in accounts))
    return {account.removeprefix(prefix): its for account, its in zip(accounts, found, strict=True)}


def day(counters: Counters, on: date) -> Counted:
    """Return what was counted on a day."""
    return _counted(counters, ("days", f"{on:%Y-%m-%d}"))


def month(counters: Counters, on: date) -> Counted:
    """Return what was counted in the month of a day. GPU time is limited by the day alone, so the days are summed."""
    prefix = f"{on:%Y-%m}"
    days_of_month = {path[1] for path in counters if path[0] == "days" and path[1].startswith(prefix)}
    gpu_ms = sum(_counted(counters, ("days", name)).gpu_ms for name in days_of_month)
    return replace(_counted(counters, ("months", prefix)), gpu_ms=gpu_ms)


def days(counters: Counters, *, limit: int) -> dict[str, Counted]:
    """Return the newest days on which anything was counted, newest first."""
    names = sorted({path[1] for path in counters if path[0] == "days"}, reverse=True)
    filled = {name: counted for name in names if (counted := _counted(counters, ("days", name)))}
    return dict(list(filled.items())[:limit])


def _counted(counters: Counters, period: tuple[str, str]) -> Counted:
    return Counted(
        requests=counters.get((*period, "requests"), 0),
        gpu_ms=counters.get((*period, "gpu_ms"), 0),
        microdollars=counters.get((*period, "microdollars"), 0),
    )
