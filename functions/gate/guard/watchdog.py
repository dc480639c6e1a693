"""Looks at the ledger and at the provider every few minutes, and raises the alarm; at what, `gate.guard.watch` says.

A look that fails in part tells of the rest: a provider that cannot be asked is a line in the log, not a reason to
leave the budget unwatched.
"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from gate.control import ProviderControl
from gate.domain.kill import KillLevel
from gate.errors import GateError
from gate.guard.alarm import Alarm
from gate.guard.alerts import Message
from gate.guard.dead_man import WATCH_PATH, memory_of, sign_of_life
from gate.guard.documents import to_document
from gate.guard.running import visit_all
from gate.guard.spending import spending
from gate.guard.sweeper import Visit
from gate.guard.watch import Bounds, Sighting, observations, remember, tries_since
from gate.log import EventLog
from gate.ports import Clock, Documents, Ledger
from gate.provider import Provider
from gate.steps.policy import Policies

_Value = TypeVar("_Value")

_SWEEP_GRACE = timedelta(minutes=10)
"""A hold that is overdue for longer than this, was left by a sweep that could not settle it."""
_OVERDUE_MAX = 100


class Watchdog:
    """Makes one look at a time. Two that look at once see the same, and tell it once."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        documents: Documents,
        policies: Policies,
        provider: Provider,
        control: ProviderControl | None,
        alarm: Alarm,
        bounds: Bounds,
        visit: Visit,
        clock: Clock,
        log: EventLog,
    ) -> None:
        self._ledger = ledger
        self._documents = documents
        self._policies = policies
        self._provider = provider
        self._control = control
        self._alarm = alarm
        self._bounds = bounds
        self._visit = visit
        self._clock = clock
        self._log = log

    async def look(self) -> list[Message]:
        """Look once, and return what the operator was told.

        Raises:
            LedgerError: the ledger cannot be read; nothing was told.
            PolicyError: the configuration cannot be read, so nobody knows what the budget is.
        """
        before = memory_of(await self._documents.read(WATCH_PATH), self._log)
        seen = await self._sighting()
        now = remember(seen, before)
        if tries_since(now, before):
            await self._look_at_running_jobs()
        told = await self._alarm.observe([*observations(seen, before, now, self._bounds), sign_of_life()])
        await self._documents.write(WATCH_PATH, to_document(now))
        # What a log-based alert policy misses when nobody watches any more: see infra/monitoring.
        self._log.info("watch.looked", in_flight=seen.spending.in_flight, told=len(told))
        return told

    async def _look_at_running_jobs(self) -> None:
        """Stop those that were tried until they took more than is held; which were tried, each has to say."""
        at = self._clock.now()
        await visit_all(self._ledger, self._visit, now=at, log=self._log, failed="watch.job_not_visited")

    async def _sighting(self) -> Sighting:
        now = self._clock.now()
        config = await self._policies.config()
        overdue = await self._ledger.expired(now=now - _SWEEP_GRACE, limit=_OVERDUE_MAX)
        control = self._control
        return Sighting(
            at=now,
            spending=await spending(self._ledger, now=now),
            config=config,
            overdue=len(overdue),
            capacity=await self._asked(control.capacity()) if control else None,
            health=await self._asked(self._provider.health()),
            balance_microdollars=await self._asked(control.balance_microdollars()) if control else None,
            stopped=config.kill_level >= KillLevel.STOP,
        )

    async def _asked(self, question: Awaitable[_Value]) -> _Value | None:
        try:
            return await question
        except GateError as exc:
            self._log.warning("watch.not_asked", reason=str(exc))
            return None
