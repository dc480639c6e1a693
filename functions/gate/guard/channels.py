"""Ways to reach the operator: the log, a signed webhook, an e-mail.

A webhook carries the headers of the Standard Webhooks specification (standardwebhooks.com), so that its receiver can
check with a library of theirs who sent it. Slack and Discord take their own bodies only, and ignore the headers.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, assert_never
from urllib.parse import urlsplit

import httpx
import msgspec

from gate.environment import Environment, Secret
from gate.errors import NotDeliveredError, SettingsError
from gate.guard.alarm import Channel
from gate.guard.alerts import AlertState, Message
from gate.log import EventLog
from gate.ports import Clock, Documents

_TIMEOUT_SECONDS = 10.0
_SECRET_PREFIX = "whsec_"  # noqa: S105 - how every such secret begins
_DISCORD_CHARACTERS_MAX = 2_000
_SIGNS = {
    AlertState.ARMED: "•",
    AlertState.WARNED: "⚠️",
    AlertState.CRITICAL: "🛑",
    AlertState.RECOVERED: "✅",
}


class LogChannel:
    """A structured line, which an alert policy of Cloud Monitoring reads: `infra/monitoring`."""

    name = "log"

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def send(self, message: Message) -> None:
        """See `Channel.send`."""
        write = self._log.error if message.state is AlertState.CRITICAL else self._log.warning
        write("alert.changed", **_plain(message))


class Shape(StrEnum):
    """Whose body a webhook has."""

    PLAIN = "plain"
    SLACK = "slack"
    DISCORD = "discord"

    @classmethod
    def of(cls, url: str) -> Shape:
        """Return the shape that an address asks for."""
        host = urlsplit(url).hostname or ""
        if host == "hooks.slack.com":
            return cls.SLACK
        return cls.DISCORD if host in ("discord.com", "discordapp.com") else cls.PLAIN


class WebhookChannel:
    """A POST to an address of the operator's.

    Args:
        url: where to; it is as good as a key to that address, so it is never logged.
        secret: `whsec_` and base64, as Standard Webhooks has it; an empty one leaves the message unsigned.
        clock: for the signature's time.
        transport: another way to send requests.

    Raises:
        SettingsError: the address is no https one, or the secret is not in that form.
    """

    name = "webhook"

    def __init__(
        self, *, url: Secret, secret: Secret, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        parts = urlsplit(url.reveal())
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
            raise SettingsError("ALERT_WEBHOOK_URL must begin with https://")
        self._url = url
        self._key = _key(secret)
        self._clock = clock
        self._transport = transport

    async def send(self, message: Message) -> None:
        """See `Channel.send`."""
        body = msgspec.json.encode(shaped(message, Shape.of(self._url.reveal())))
        sent_at = int(self._clock.now().timestamp())
        headers = {"content-type": "application/json", **_signed(self._key, message.message_id, sent_at, body)}
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, transport=self._transport) as client:
                answer = await client.post(self._url.reveal(), content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            # Its text may hold the address.
            raise NotDeliveredError(f"the alert webhook cannot be reached: {type(exc).__name__}") from None
        if not answer.is_success:
            raise NotDeliveredError(f"the alert webhook answered with HTTP {answer.status_code}")


class MailChannel:
    """A document that Firebase's Trigger Email extension sends as an e-mail."""

    name = "mail"

    def __init__(self, *, documents: Documents, to: Sequence[str], collection: str = "mail") -> None:
        self._documents = documents
        self._to = list(to)
        self._collection = collection

    async def send(self, message: Message) -> None:
        """See `Channel.send`. The document is named by the message, so that there is one."""
        facts = "".join(f"\n{name}: {value}" for name, value in message.facts.items())
        mail = {
            "to": self._to,
            "message": {
                "subject": f"[Twohop] {message.alert}: {message.state.value}",
                "text": f"{message.text}\n{facts}\n\n{message.at:%Y-%m-%d %H:%M} UTC",
            },
        }
        await self._documents.swap(f"{self._collection}/{message.message_id}", old=None, new=mail)


def open_channels(read: Environment, *, documents: Documents, clock: Clock, log: EventLog) -> list[Channel]:
    """Return the log, and the channels that ALERT_WEBHOOK_URL, ALERT_WEBHOOK_SECRET and ALERT_EMAIL name.

    Raises:
        SettingsError: one of them cannot be right.
    """
    channels: list[Channel] = [LogChannel(log)]
    url, addresses = read.secret("ALERT_WEBHOOK_URL"), read.words("ALERT_EMAIL")
    if url:
        channels.append(WebhookChannel(url=url, secret=read.secret("ALERT_WEBHOOK_SECRET"), clock=clock))
    if addresses:
        channels.append(MailChannel(documents=documents, to=addresses))
    return channels


def shaped(message: Message, shape: Shape) -> dict[str, Any]:
    """Return a webhook's body."""
    line = f"{_SIGNS[message.state]} {message.alert} is {message.state.value}: {message.text}"
    match shape:
        case Shape.PLAIN:
            return {"type": "alert.changed", **_plain(message)}
        case Shape.SLACK:
            return {"text": line}
        case Shape.DISCORD:
            return {"content": line[:_DISCORD_CHARACTERS_MAX], "allowed_mentions": {"parse": []}}
        case _:
            assert_never(shape)


def _plain(message: Message) -> dict[str, Any]:
    return {
        "message_id": message.message_id,
        "alert": message.alert,
        "state": message.state.value,
        "text": message.text,
        "facts": dict(message.facts),
        "at": message.at.isoformat(),
    }


def _key(secret: Secret) -> bytes:
    text = secret.reveal()
    if not text:
        return b""
    try:
        return base64.b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
    except ValueError:
        raise SettingsError("ALERT_WEBHOOK_SECRET must be whsec_ and base64") from None


def _signed(key: bytes, message_id: str, sent_at: int, body: bytes) -> Mapping[str, str]:
    """Return the headers of Standard Webhooks. Source: its specification, "Signature scheme"."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(sent_at)}
    if not key:
        return headers
    digest = hmac.new(key, f"{message_id}.{sent_at}.".encode() + body, hashlib.sha256).digest()
    return {**headers, "webhook-signature": f"v1,{base64.b64encode(digest).decode()}"}
