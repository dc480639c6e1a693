"""The kill ladder's hands: sets the level, keeps who did it and why, and carries out the level at the provider.

gate/config.kill_level        the level in force; every instance reads it within `policy_seconds`
gate/kill                     what is known to be done about it: the provider's bounds before, workers read back
kill_history/{time}-{level}   one document for each change, never changed again
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from gate.control import ProviderControl
from gate.domain import kill, overhead
from gate.domain.job import Job
from gate.domain.kill import KillLevel
from gate.domain.plan import GateConfig, parse
from gate.errors import GateError, LedgerError, PolicyError
from gate.guard.running import visit_all
from gate.log import EventLog
from gate.ports import Clock, Documents, Ledger
from gate.steps.holding import settle_loans
from gate.steps.policy import CONFIG_PATH

KILL_PATH = "gate/kill"
HISTORY = "kill_history"
_SWAP_TRIES = 10
_THRESHOLD, _EDIT = "threshold", "edit"
_FIRED_MAX = 60

Stop = Callable[[Job], Awaitable[Job]]
"""Stops a running job at its provider, and settles it."""


class Store(Ledger, Documents, Protocol):
    """A ledger with the owner's documents beside it."""


class BillingSwitch(Protocol):
    """Takes the billing account away from the project, or says what it would do."""

    async def detach(self) -> str:
        """Do it, or not, and return in words what was done. Doing it twice is doing it once.

        Raises:
            GateError: it is not known to be done.
        """
        ...


class KillRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The document `gate/kill`: what hop 1 knows and did about the level."""

    level: Annotated[int, Meta(ge=0, le=6)] = 0
    """The level that the history tells last."""
    fired: tuple[str, ...] = ()
    """Thresholds that have set a level, each with its hour or day: none does so twice, whoever sets it back."""
    workers_min: int | None = None
    workers_max: int | None = None
    """The provider's bounds before it was stopped, to be set again when the level goes down."""
    workers_alive: int | None = None
    """As they were read back at last, while the level is 5 or above."""
    workers_read_at: datetime | None = None
    billing: str = ""
    """What was done about the billing account."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the level, as the history keeps it."""

    at: datetime
    before: int
    after: int
    name: str
    reason: str


class KillLadder:
    """Runs every minute, on any number of instances at once; and whenever somebody sets a level."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        log: EventLog,
        control: ProviderControl | None = None,
        stop: Stop | None = None,
        billing: BillingSwitch | None = None,
    ) -> None:
        """Make one. Without the last three it sets levels, and leaves the rest to one that has them."""
        self._store = store
        self._clock = clock
        self._log = log
        self._control = control
        self._stop = stop
        self._billing = billing

    async def set_level(self, level: int, *, name: str, reason: str) -> Change | None:
        """Set the level, up or down, and keep who did it and why. None if it is the level already.

        Raises:
            PolicyError: there is no configuration.
            LedgerError: it is not known to be set.
        """
        change = await self._set(level, name=name, reason=reason, only_up=False)
        if change:
            await self._keep(change)
        return change

    async def run(self) -> int:
        """Settle loans, go up if a threshold is reached, do what the level asks for, and return the level.

        Raises:
            PolicyError: the configuration is missing or malformed.
            LedgerError: it, or the budget, cannot be read.
        """
        config = await self._config()
        now = self._clock.now()
        shards = await settle_loans(self._store, config, now=now)
        crossed = {**kill.crossed(config, shards, now=now), **overhead.crossed(config, shards, now=now)}
        level = await self._go_up(config, crossed)
        await self._note_edit(level)
        await self._carry_out(level)
        return level

    async def history(self) -> list[Change]:
        """Return all changes, newest first.

        Raises:
            LedgerError: they cannot be read.
        """
        kept = await self._store.collection(HISTORY)
        return [msgspec.convert(_plain(kept[name]), Change) for name in sorted(kept, reverse=True)]

    async def record(self) -> KillRecord:
        """Return what is known to be done about the level.

        Raises:
            LedgerError: it cannot be read.
        """
        document = await self._store.read(KILL_PATH)
        return msgspec.convert(_plain(document or {}), KillRecord)

    async def _config(self) -> GateConfig:
        document = await self._store.read(CONFIG_PATH)
        if document is None:
            raise PolicyError(f"{CONFIG_PATH} does not exist; `twohop init` makes it")
        return parse(GateConfig, document, CONFIG_PATH)

    async def _go_up(self, config: GateConfig, crossed: Mapping[str, KillLevel]) -> int:
        record = await self.record()
        new = {name: level for name, level in crossed.items() if name not in record.fired}
        level = max(new.values(), default=KillLevel.NORMAL)
        if new:
            if level > config.kill_level:
                reason = kill.in_words(max(new, key=new.__getitem__))
                change = await self._set(level, name=_THRESHOLD, reason=reason, only_up=True)
                if change:
                    await self._keep(change)
            await self._update(lambda now: msgspec.structs.replace(now, fired=(*now.fired, *new)[-_FIRED_MAX:]))
        return max(config.kill_level, level)

    async def _set(self, level: int, *, name: str, reason: str, only_up: bool) -> Change | None:
        for _ in range(_SWAP_TRIES):
            old = await self._store.read(CONFIG_PATH)
            if old is None:
                raise PolicyError(f"{CONFIG_PATH} does not exist; `twohop init` makes it")
            before = old.get("kill_level", 0)
            if before == level or (only_up and isinstance(before, int) and before > level):
                return None
            if await self._store.swap(CONFIG_PATH, old=old, new={**old, "kill_level": int(level)}):
                before = before if isinstance(before, int) else 0
                return Change(at=self._clock.now(), before=before, after=int(level), name=name, reason=reason)
        raise LedgerError(f"{CONFIG_PATH} changed at each try to set the kill level")

    async def _keep(self, change: Change) -> None:
        path = f"{HISTORY}/{change.at:%Y-%m-%dT%H:%M:%S.%fZ}-{change.after}"
        await self._store.swap(path, old=None, new=msgspec.to_builtins(change))
        await self._update(lambda now: msgspec.structs.replace(now, level=change.after))
        self._log.error(
            "kill.level",
            level=change.after,
            before=change.before,
            name=change.name,
            reason=change.reason,
        )

    async def _note_edit(self, level: int) -> None:
        """Keep a change that somebody made in the console, where nobody gives a name."""
        record = await self.record()
        if record.level != level:
            change = Change(
                at=self._clock.now(),
                before=record.level,
                after=level,
                name=_EDIT,
                reason=f"{CONFIG_PATH} was edited",
            )
            await self._keep(change)

    async def _carry_out(self, level: int) -> None:
        """Each part alone: one that fails is tried again by the next run and stops none of the others."""
        steps = [self._stop_workers, self._stop_jobs] if level >= KillLevel.STOP else [self._restore_workers]
        steps += [self._detach_billing] if level >= KillLevel.DETACH_BILLING else []
        for step in steps:
            try:
                await step()
            except GateError as exc:
                self._log.error("kill.not_carried_out", step=step.__name__.lstrip("_"), reason=str(exc))

    async def _stop_workers(self) -> None:
        """No workers, no queue; and believe it only when it is read back."""
        if self._control is None:
            return
        before = await self._control.capacity()
        if before.workers_max or before.workers_min:
            bounds = {"workers_min": before.workers_min, "workers_max": before.workers_max}
            await self._update(lambda now: msgspec.structs.replace(now, **bounds))
            await self._control.set_capacity(workers_min=0, workers_max=0)
        purged = await self._control.purge_queue()
        after = await self._control.capacity()
        read = {"workers_alive": after.alive, "workers_read_at": self._clock.now()}
        await self._update(lambda now: msgspec.structs.replace(now, **read))
        if after.alive or after.workers_max:
            self._log.warning("kill.workers_alive", alive=after.alive, workers_max=after.workers_max)
        else:
            self._log.info("kill.no_workers", purged=purged)

    async def _stop_jobs(self) -> None:
        """Cancel the jobs that run without a call; the others are stopped by the instance that waits for them."""
        if self._stop is None:
            return
        now = self._clock.now()
        await visit_all(self._store, self._stop, now=now, log=self._log, failed="kill.job_not_stopped")

    async def _restore_workers(self) -> None:
        record = await self.record()
        if self._control is None or record.workers_max is None:
            return
        await self._control.set_capacity(workers_min=record.workers_min or 0, workers_max=record.workers_max)
        none: dict[str, Any] = dict.fromkeys(("workers_min", "workers_max", "workers_alive", "workers_read_at"))
        await self._update(lambda now: msgspec.structs.replace(now, **none, billing=""))
        self._log.warning("kill.workers_restored", workers_max=record.workers_max)

    async def _detach_billing(self) -> None:
        if self._billing is None:
            return
        done = await self._billing.detach()
        await self._update(lambda now: msgspec.structs.replace(now, billing=done))
        self._log.error("kill.billing", done=done)

    async def _update(self, change: Callable[[KillRecord], KillRecord]) -> None:
        for _ in range(_SWAP_TRIES):
            old = await self._store.read(KILL_PATH)
            before = msgspec.convert(_plain(old or {}), KillRecord)
            after = change(before)
            if after == before and old is not None:
                return
            if await self._store.swap(KILL_PATH, old=old, new=msgspec.to_builtins(after)):
                return
        raise LedgerError(f"{KILL_PATH} changed at each try to write it")


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "schema_version"}
