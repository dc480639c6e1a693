"""Keeps the alerts' documents, and tells each change of one on every channel.

The change is written down before it is told, on the condition that the alert is as it was read: of several watchers
that see the same thing, one tells it. A channel that could not be reached stays noted in the document, and is tried
again at the next look.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from gate.errors import GateError
from gate.guard.alerts import Alert, Message, Observation, message_of, transition
from gate.guard.documents import to_document
from gate.log import EventLog
from gate.ports import Clock, Documents

ALERTS = "alerts"


class Channel(Protocol):
    """A way to reach the operator."""

    name: str

    async def send(self, message: Message) -> None:
        """Tell the operator. Sending the same message again does no harm.

        Raises:
            NotDeliveredError: it is not known to have arrived; send it again.
        """
        ...


class Alarm:
    """Turns observations into messages."""

    def __init__(self, *, documents: Documents, channels: Sequence[Channel], clock: Clock, log: EventLog) -> None:
        self._documents = documents
        self._channels = {channel.name: channel for channel in channels}
        self._clock = clock
        self._log = log

    async def observe(self, observations: Iterable[Observation]) -> list[Message]:
        """Take note of what was seen, and return what was told of it.

        Raises:
            LedgerError: the alerts' documents cannot be read or written; look again.
        """
        there = await self._documents.collection(ALERTS)
        told = await asyncio.gather(*(self._observe(seen, there.get(seen.alert)) for seen in observations))
        return [message for message in told if message is not None]

    async def _observe(self, seen: Observation, document: dict[str, Any] | None) -> Message | None:
        before = self._parsed(seen.alert, document)
        mark = secrets.token_hex(8)
        after = transition(before, seen, at=self._clock.now(), channels=tuple(self._channels), mark=mark)
        if after is None and before is not None and before.untold:
            after = msgspec.structs.replace(before, mark=mark)  # Claims what another may want to tell again as well.
        if after is None:
            return None
        written = to_document(after)
        if not await self._documents.swap(_path(seen.alert), old=document, new=written):
            return None  # Another watcher saw the same, and tells it.
        message = message_of(seen.alert, after)
        await self._tell(message, after, written)
        return message

    async def _tell(self, message: Message, alert: Alert, written: Mapping[str, Any]) -> None:
        reached = await asyncio.gather(*(self._send(name, message) for name in alert.untold))
        untold = tuple(name for name, arrived in zip(alert.untold, reached, strict=True) if not arrived)
        done = msgspec.structs.replace(alert, untold=untold)
        await self._documents.swap(_path(message.alert), old=written, new=to_document(done))

    async def _send(self, name: str, message: Message) -> bool:
        channel = self._channels.get(name)
        if channel is None:
            return True  # It is not configured any more.
        try:
            await channel.send(message)
        except GateError as exc:
            self._log.error("alert.not_delivered", alert=message.alert, channel=name, reason=str(exc))
            return False
        return True

    def _parsed(self, name: str, document: dict[str, Any] | None) -> Alert | None:
        """Read an alert's document. One that was edited into none begins anew: better told twice than never."""
        if document is None:
            return None
        try:
            return msgspec.convert(document, Alert)
        except msgspec.ValidationError as exc:
            self._log.warning("alert.malformed", document=_path(name), reason=str(exc))
            return None


def _path(name: str) -> str:
    return f"{ALERTS}/{name}"
