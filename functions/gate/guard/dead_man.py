"""Notices that nobody watches any more. A watchdog that does not run cannot say so; those who serve callers can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from gate.errors import GateError
from gate.log import EventLog
from gate.ports import Clock, Documents

if TYPE_CHECKING:  # What is told, and how, is imported when there is something to tell: this is at every cold start.
    from gate.guard.alarm import Alarm
    from gate.guard.alerts import Observation
    from gate.guard.watch import Memory

WATCH_PATH = "gate/watch"
"""Where the watchdog leaves what it saw, and when."""
_SILENT_AFTER = timedelta(minutes=20)
"""Four looks that did not happen."""
_ASKED_EVERY = timedelta(minutes=10)


class DeadMansSwitch:
    """Now and then, beside a call and never before it, looks for a sign of life.

    That is one read of the ledger in ten minutes of an instance that serves.

    Args:
        documents: where the watchdog leaves its signs.
        open_alarm: makes what tells the operator; called only when there is something to tell.
        clock: the time.
        log: for what the looking failed of.
    """

    def __init__(self, *, documents: Documents, open_alarm: Callable[[], Alarm], clock: Clock, log: EventLog) -> None:
        self._documents = documents
        self._open_alarm = open_alarm
        self._clock = clock
        self._log = log
        self._asked_at: datetime | None = None
        self._asking: asyncio.Task[None] | None = None

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return an app that answers as this one does, and looks."""
        return _Watched(app, self._look)

    def _look(self) -> None:
        now = self._clock.now()
        if self._asked_at is None or now - self._asked_at >= _ASKED_EVERY:
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask(now))  # The loop forgets tasks that nobody holds on to.

    async def _ask(self, now: datetime) -> None:
        try:
            memory = memory_of(await self._documents.read(WATCH_PATH), self._log)
            if memory is not None and now - memory.at > _SILENT_AFTER:
                await self._open_alarm().observe([_silence()])
        except GateError as exc:
            self._log.warning("watch.not_checked", reason=str(exc))


class _Watched:
    """An app, and not a function: Starlette's router would take a function for a handler of requests."""

    def __init__(self, app: ASGIApp, look: Callable[[], None]) -> None:
        self._app = app
        self._look = look

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._look()
        await self._app(scope, receive, send)


def memory_of(document: dict[str, Any] | None, log: EventLog) -> Memory | None:
    """Read what the last look left; None if there is none, or somebody edited it into none."""
    if document is None:
        return None
    from gate.guard.watch import Memory

    try:
        return msgspec.convert(document, Memory)
    except msgspec.ValidationError as exc:
        log.warning("watch.forgot", document=WATCH_PATH, reason=str(exc))
        return None


def sign_of_life() -> Observation:
    """Return what ends the silence."""
    from gate.guard.alerts import Observation, Severity

    return Observation(alert="watch_silent", severity=Severity.FINE, text="The watchdog looks every few minutes.")


def _silence() -> Observation:
    from gate.guard.alerts import Observation, Severity

    return Observation(
        alert="watch_silent",
        severity=Severity.CRITICAL,
        text=f"Nobody has watched for {_SILENT_AFTER // timedelta(minutes=1)} minutes: the scheduled function "
        "`sweep` does not run. Holds that were lost are not settled, and no budget alert comes.",
    )
