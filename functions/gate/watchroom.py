"""The second composition root: what watches the ledger and the bill while callers are served.

It is made by the scheduled functions alone, so that a call's cold start does not pay for it.
"""

from __future__ import annotations

from functools import cache

import msgspec

from gate.assembly import Hop1
from gate.bootstrap import hop1
from gate.control import ProviderControl
from gate.errors import InvalidRequestError
from gate.guard.alarm import Alarm
from gate.guard.google_billing import Detach, GoogleBilling
from gate.guard.google_budget import observation_of
from gate.guard.kill_ladder import KillLadder
from gate.guard.overhead import OverheadCount
from gate.guard.reconcile import Reconciler
from gate.guard.watch import Bounds
from gate.guard.watchdog import Watchdog
from gate.log import EventLog
from gate.parts import alarm_of
from gate.providers import open_control
from gate.settings import Settings


class Watchroom(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a schedule runs."""

    alarm: Alarm
    watchdog: Watchdog
    ladder: KillLadder
    reconciler: Reconciler | None
    """None where the provider has no bill that can be read."""
    control: ProviderControl | None
    log: EventLog

    async def hear_of_budget(self, event: object) -> None:
        """Take note of what one of Google's budget messages says; one that is none is a line in the log.

        Raises:
            LedgerError: it could not be written down; deliver it again.
        """
        try:
            observation = observation_of(event)
        except InvalidRequestError as exc:
            self.log.warning("budget.not_understood", reason=str(exc))
            return
        await self.alarm.observe([observation])

    async def close(self) -> None:
        """Let go of connections."""
        if self.control:
            await self.control.close()


@cache
def watchroom() -> Watchroom:
    """Return this process's watchroom, beside its hop 1.

    Raises:
        SettingsError: a setting of an alert's channel cannot be right.
    """
    return make_watchroom(hop1())


def make_watchroom(hop1: Hop1, *, control: ProviderControl | None = None) -> Watchroom:
    """Put a watchroom together.

    Args:
        hop1: whose ledger, provider and settings it uses.
        control: the provider's switches and bill, instead of the configured one.

    Raises:
        SettingsError: as `watchroom`.
    """
    settings = hop1.settings
    control = control or open_control(settings)
    alarm = alarm_of(settings, hop1.store, hop1.clock, hop1.log)
    watchdog = Watchdog(
        ledger=hop1.store,
        documents=hop1.store,
        policies=hop1.policies,
        provider=hop1.provider,
        control=control,
        alarm=alarm,
        bounds=_bounds(settings),
        visit=hop1.follower.visit,
        clock=hop1.clock,
        log=hop1.log,
    )
    return Watchroom(
        alarm=alarm,
        watchdog=watchdog,
        ladder=KillLadder(
            store=hop1.store,
            clock=hop1.clock,
            log=hop1.log,
            control=control,
            stop=hop1.follower.stop,
            billing=_billing(settings),
        ),
        reconciler=_reconciler(hop1, control, alarm) if control else None,
        control=control,
        log=hop1.log,
    )


def _reconciler(hop1: Hop1, control: ProviderControl, alarm: Alarm) -> Reconciler:
    return Reconciler(
        ledger=hop1.store,
        documents=hop1.store,
        control=control,
        tariff=hop1.model.tariff,
        overhead=OverheadCount(
            ledger=hop1.store,
            documents=hop1.store,
            job_microdollars_max=hop1.model.worst_case_gpu_microdollars,
            log=hop1.log,
        ),
        alarm=alarm,
        clock=hop1.clock,
        log=hop1.log,
    )


def _billing(settings: Settings) -> GoogleBilling | None:
    mode = Detach(settings.environment.one_of("DETACH_BILLING", Detach, Detach.DRY_RUN))
    return GoogleBilling(project=settings.project, mode=mode) if settings.deployed else None


def _bounds(settings: Settings) -> Bounds:
    return Bounds(start_seconds_max=settings.start_seconds_max, idle_seconds=settings.idle_seconds)
