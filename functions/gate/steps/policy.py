"""Reads what the owner decided, and keeps it for a few seconds so that admission needs no read.

An edit takes effect on every instance within `fresh_seconds`. A malformed edit never does: the last good value stays
in force, also for an instance that starts after the edit, and the operator is told once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import msgspec

from gate.domain.plan import (
    NO_BUDGET,
    Budget,
    Cohort,
    GateConfig,
    Plan,
    UserPolicy,
    check_overrides,
    parse,
    with_overrides,
)
from gate.errors import ForbiddenError, PolicyError
from gate.ports import Caller, Clock, Documents

_Document = TypeVar("_Document", bound=msgspec.Struct)

CONFIG_PATH = "gate/config"
_CACHED_MAX = 10_000
_NOBODY_SPECIAL = UserPolicy()


class Notifier(Protocol):
    """Tells the operator."""

    def notify(self, event: str, **fields: object) -> None:
        """Say that something needs the operator's eye. Never raises, never blocks for long."""
        ...


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one caller right now."""

    plan: Plan
    plan_name: str
    config: GateConfig
    token_budget: Budget = NO_BUDGET
    """What the token that was shown may spend."""
    cohort: Cohort = Cohort.VERIFIED
    """How the caller signed in, or, for a token, its owner when they made it."""

    def first_seen_by(self, now: datetime) -> datetime | None:
        """Return until when the caller must have been seen first for this to be the policy that holds for them."""
        if self.cohort is not Cohort.VERIFIED or not self.config.tells_newcomers:
            return None
        return now - timedelta(hours=self.config.new_hours)


class _Cached(msgspec.Struct, frozen=True, kw_only=True):
    value: Any
    read_at: datetime


class _Reading(msgspec.Struct, frozen=True, kw_only=True):
    task: asyncio.Task[Any]
    asked_at: datetime


class Policies:
    """The owner's documents, parsed, cached, and never worse than the last good ones."""

    def __init__(self, *, documents: Documents, notifier: Notifier, clock: Clock, fresh_seconds: float) -> None:
        self._documents = documents
        self._notifier = notifier
        self._clock = clock
        self.fresh_seconds = fresh_seconds
        self._fresh = timedelta(seconds=fresh_seconds)
        self._cache: OrderedDict[str, _Cached] = OrderedDict()
        self._reads: dict[str, _Reading] = {}
        self._told: dict[str, str] = {}

    def read_ahead(self) -> None:
        """Begin to read the configuration: the first caller soon needs it.

        What cannot be read now is read again by whoever asks for it, who is told why.
        """
        self._begin(CONFIG_PATH, GateConfig)

    async def read_ahead_for(self, caller: Caller) -> None:
        """Begin to read what `for_caller` will need, the plan as soon as the configuration names it.

        Raises:
            GateError: there is no configuration, as `config` says.
        """
        self._begin(_user_path(caller.uid), UserPolicy)
        name = (await self.config()).plan_of(caller.cohort)
        if name:
            self._begin(f"plans/{name}", Plan)

    def expect(self, caller: Caller) -> None:
        """Begin to read, all at the same time, what `for_caller` will need and can be named already."""
        path = _user_path(caller.uid)
        if self._is_fresh(path):
            return
        self._begin(path, UserPolicy)
        self._begin(CONFIG_PATH, GateConfig)
        config = self._cache.get(CONFIG_PATH)
        name = config.value.plan_of(caller.cohort) if config and config.value else None
        if name:
            self._begin(f"plans/{name}", Plan)

    async def for_caller(self, caller: Caller) -> Policy:
        """Return the plan and the configuration that hold for a caller.

        Raises:
            ForbiddenError: the owner disabled this account, or gives this kind of caller no plan.
            PolicyError: what is needed is missing or malformed, and no good value is known.
            LedgerError: the documents cannot be read.
        """
        if self._is_fresh(CONFIG_PATH):  # Then no task is needed to read both at once.
            config, user = await self.config(), await self._user(caller.uid)
        else:
            config, user = await asyncio.gather(self.config(), self._user(caller.uid))
        if user.disabled:
            raise ForbiddenError(f"user {caller.uid} is disabled", public_message="This account is disabled.")
        name = user.plan or config.plan_of(caller.cohort)
        if name is None:
            raise ForbiddenError(
                f"gate/config names no plan for the cohort {caller.cohort.value!r}",
                public_message="This kind of account may not use the service.",
            )
        plan = await self._plan(name, user, caller.uid)
        return Policy(
            plan=_for_credential(plan, caller.models),
            plan_name=name,
            config=config,
            token_budget=caller.token_budget,
            cohort=caller.cohort,
        )

    async def _plan(self, name: str, user: UserPolicy, uid: str) -> Plan:
        plan = await self._document(f"plans/{name}", Plan)
        if plan is None:
            raise PolicyError(f"plans/{name} does not exist; make it with `twohop plan set {name} …`")
        return with_overrides(plan, user.overrides, f"users/{uid}.overrides")

    async def config(self) -> GateConfig:
        """Return what the owner decided for the whole gate.

        Raises:
            PolicyError: it is missing or malformed, and no good value is known.
            LedgerError: it cannot be read.
        """
        config = await self._document(CONFIG_PATH, GateConfig)
        if config is None:
            raise PolicyError(f"{CONFIG_PATH} does not exist; `twohop init` makes it")
        return config

    async def _user(self, uid: str) -> UserPolicy:
        return await self._document(_user_path(uid), UserPolicy) or _NOBODY_SPECIAL

    def _is_fresh(self, path: str) -> bool:
        cached = self._cache.get(path)
        return cached is not None and self._clock.now() - cached.read_at < self._fresh

    async def _document(self, path: str, kind: type[_Document]) -> _Document | None:
        """Return a document from the cache, or read it; many who ask at once share one read."""
        now = self._clock.now()
        cached = self._cache.get(path)
        if cached and now - cached.read_at < self._fresh:
            self._cache.move_to_end(path)
            return cached.value  # type: ignore[no-any-return]  # what is cached under a path is of the path's kind
        reading = self._reads.get(path)
        if reading is None or now - reading.asked_at > self._fresh:
            reading = self._begin_reading(path, kind, now)
        value: _Document | None = await asyncio.shield(reading.task)
        return value

    def _begin(self, path: str, kind: type[msgspec.Struct]) -> None:
        if path not in self._reads and not self._is_fresh(path):
            self._begin_reading(path, kind, self._clock.now())

    def _begin_reading(self, path: str, kind: type[_Document], now: datetime) -> _Reading:
        reading = _Reading(task=asyncio.ensure_future(self._read(path, kind, now)), asked_at=now)
        self._reads[path] = reading
        reading.task.add_done_callback(lambda _: self._end_reading(path, reading))
        return reading

    def _end_reading(self, path: str, reading: _Reading) -> None:
        if not reading.task.cancelled():
            reading.task.exception()  # Or Python complains of one that nobody waited for.
        if self._reads.get(path) is reading:
            del self._reads[path]

    async def _read(self, path: str, kind: type[_Document], asked_at: datetime) -> _Document | None:
        document = await self._documents.read(path)
        value = None if document is None else await self._parsed(path, kind, document)
        cached = self._cache.get(path)
        if cached is None or cached.read_at <= asked_at:
            self._keep_cached(path, _Cached(value=value, read_at=asked_at))
        return value

    def _keep_cached(self, path: str, cached: _Cached) -> None:
        self._cache[path] = cached
        self._cache.move_to_end(path)
        while len(self._cache) > _CACHED_MAX:
            self._cache.popitem(last=False)

    async def _parsed(self, path: str, kind: type[_Document], document: dict[str, Any]) -> _Document:
        try:
            value = parse(kind, document, path)
            check_overrides(value, path)
        except PolicyError as exc:
            self._tell(path, str(exc))
            return await self._last_good(path, kind, exc)
        self._told.pop(path, None)
        return value

    async def _last_good(self, path: str, kind: type[_Document], error: PolicyError) -> _Document:
        cached = self._cache.get(path)
        if cached and cached.value is not None:
            return cached.value  # type: ignore[no-any-return]  # as above
        kept = await self._documents.read(_kept_path(path))
        if kept is None:
            raise error
        return parse(kind, kept, _kept_path(path))

    async def keep_good(self) -> None:
        """Keep a copy of each plan and of the configuration that is good, for instances that start after a bad edit.

        The sweeper calls this; it writes only what changed.
        """
        for name, document in (await self._documents.collection("plans")).items():
            await self._keep(f"plans/{name}", Plan, document)
        config = await self._documents.read(CONFIG_PATH)
        if config is not None:
            await self._keep(CONFIG_PATH, GateConfig, config)

    async def _keep(self, path: str, kind: type[msgspec.Struct], document: dict[str, Any]) -> None:
        try:
            parse(kind, document, path)
        except PolicyError as exc:
            self._tell(path, str(exc))
            return
        if await self._documents.read(_kept_path(path)) != document:
            await self._documents.write(_kept_path(path), document)

    def _tell(self, path: str, reason: str) -> None:
        """Tell the operator of a malformed document, once for each way in which it is malformed."""
        if self._told.get(path) != reason:
            self._told[path] = reason
            self._notifier.notify("policy.malformed", document=path, reason=reason)


def _for_credential(plan: Plan, models: tuple[str, ...]) -> Plan:
    """Return a plan with no other models than a caller's credential opens."""
    if "*" in models:
        return plan
    opened = models if "*" in plan.models else [model for model in plan.models if model.lower() in models]
    return msgspec.structs.replace(plan, models=tuple(opened))


def _user_path(uid: str) -> str:
    return f"users/{uid}"


def _kept_path(path: str) -> str:
    return f"last_good/{path.replace('/', '.')}"
