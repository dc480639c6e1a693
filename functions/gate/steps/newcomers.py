"""Tells newcomers from those who were first seen long ago, without a read.

    hold as one who was seen before ─┬─ the commit says: first seen long ago ──► admitted, one commit
                                     └─ first seen now, or lately ──► put back; hold again as a newcomer

An ID token does not say how old its account is. So the commit of each hold keeps the earliest time in the caller's
own document, and returns it. An instance remembers its newcomers, so only their first call to it holds twice.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from gate.domain import meter
from gate.domain.meter import Denial
from gate.domain.plan import Cohort
from gate.ports import Caller, Clock, Ledger
from gate.steps.denials import DenialMemory
from gate.steps.policy import Policies


class NewcomerError(Exception):
    """A caller was first seen too lately for the policy that a job was to be held by. Never leaves the way in."""

    def __init__(self, denial: Denial) -> None:
        super().__init__("a newcomer")
        self.denial = denial


class Newcomers:
    """Who is new to this service."""

    def __init__(self, *, policies: Policies, ledger: Ledger, clock: Clock) -> None:
        self._policies = policies
        self._ledger = ledger
        self._clock = clock
        self._known = DenialMemory(clock)

    async def as_known(self, caller: Caller) -> Caller:
        """Return a caller as one of the cohort `new` if this instance knows that they are. Asks no ledger."""
        if caller.cohort is not Cohort.VERIFIED:
            return caller
        config = await self._policies.config()
        is_new = self._known.recall(caller.uid, config.new_hours)
        return _newcomer(caller) if is_new and config.tells_newcomers else caller

    async def remember(self, caller: Caller, denial: Denial) -> Caller:
        """Note that a hold told a newcomer, and return them as one."""
        config = await self._policies.config()
        self._known.remember(caller.uid, denial, config.new_hours)
        return _newcomer(caller)

    async def as_seen(self, caller: Caller) -> Caller:
        """Return a caller as a hold would find them, by reading when they were first seen.

        Raises:
            LedgerError: that cannot be read.
        """
        config = await self._policies.config()
        if caller.cohort is not Cohort.VERIFIED or not config.tells_newcomers:
            return caller
        now = self._clock.now()
        counters = await self._ledger.counters(meter.usage_account(caller.uid))
        first_seen_us = counters.get(meter.FIRST_SEEN, meter.to_microseconds(now))
        seen_by = now - timedelta(hours=config.new_hours)
        return _newcomer(caller) if first_seen_us > meter.to_microseconds(seen_by) else caller


def _newcomer(caller: Caller) -> Caller:
    return replace(caller, cohort=Cohort.NEW)
