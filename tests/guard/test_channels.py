"""The channels: what goes over the wire, and what never does."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from gate.environment import Secret
from gate.errors import NotDeliveredError, SettingsError
from gate.guard.alerts import AlertState, Message
from gate.guard.channels import LogChannel, MailChannel, WebhookChannel
from gate.ledgers.sqlite import SqliteLedger
from gate.ports import Clock
from tests.gate.doubles import WatchedLog
from tests.makers import NOON, FakeClock

SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
MESSAGE = Message(
    message_id="budget_day-3",
    alert="budget_day",
    state=AlertState.CRITICAL,
    text="96 % is spent. @everyone",
    facts={"spent_microdollars": 4_800_000},
    at=NOON,
)


class Receiver:
    """The other end of a webhook."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers) or [200]
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer)


def webhook(receiver: Receiver, url: str, *, secret: str = SECRET, clock: Clock | None = None) -> WebhookChannel:
    transport = httpx.MockTransport(receiver)
    return WebhookChannel(url=Secret(url), secret=Secret(secret), clock=clock or FakeClock(), transport=transport)


class SystemClock:
    def now(self):  # type: ignore[no-untyped-def]
        from datetime import UTC, datetime

        return datetime.now(UTC)


async def test_a_receiver_checks_the_signature_with_the_standard_library_for_it() -> None:
    """Standard Webhooks' own package is the judge, so that no receiver has to read our code."""
    receiver = Receiver()
    await webhook(receiver, "https://example.com/hook", clock=SystemClock()).send(MESSAGE)

    request = receiver.requests[0]
    said = Webhook(SECRET).verify(request.content, dict(request.headers))
    assert said["alert"] == "budget_day"
    assert said["facts"] == {"spent_microdollars": 4_800_000}
    assert request.headers["webhook-id"] == "budget_day-3"


async def test_another_secret_does_not_hold() -> None:
    receiver = Receiver()
    await webhook(receiver, "https://example.com/hook", clock=SystemClock()).send(MESSAGE)

    other = Webhook("whsec_" + base64.b64encode(b"x" * 24).decode())
    request = receiver.requests[0]
    with pytest.raises(Exception, match="signature"):
        other.verify(request.content, dict(request.headers))


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("https://hooks.slack.com/services/T0/B0/secret", "text"),
        ("https://discord.com/api/webhooks/1/secret", "content"),
    ],
    ids=["slack", "discord"],
)
async def test_slack_and_discord_get_the_body_that_they_take(url: str, field: str) -> None:
    receiver = Receiver()
    await webhook(receiver, url, secret="").send(MESSAGE)

    body = json.loads(receiver.requests[0].content)
    assert "budget_day is critical: 96 % is spent." in body[field]
    assert body.get("allowed_mentions", {"parse": []}) == {"parse": []}


@pytest.mark.parametrize(
    "answer", [404, 500, httpx.ConnectError("https://hooks.slack.com/services/T0/B0/secret is away")], ids=str
)
async def test_what_did_not_arrive_is_an_error_that_does_not_hold_the_address(answer: int | Exception) -> None:
    """A webhook's address is as good as a key to it."""
    channel = webhook(Receiver(answer), "https://hooks.slack.com/services/T0/B0/secret")

    with pytest.raises(NotDeliveredError) as caught:
        await channel.send(MESSAGE)

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "secret", "named"),
    [
        ("http://example.com/hook", SECRET, "ALERT_WEBHOOK_URL"),
        ("https://example.com/hook", "whsec_not base64!", "ALERT_WEBHOOK_SECRET"),
    ],
    ids=["unencrypted", "no secret"],
)
def test_a_setting_that_cannot_be_is_named(url: str, secret: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        webhook(Receiver(), url, secret=secret)


async def test_the_log_line_is_one_that_an_alert_policy_can_filter() -> None:
    log = WatchedLog()
    await LogChannel(log).send(MESSAGE)

    [line] = log.lines("alert.changed")
    assert (line["severity"], line["alert"], line["state"]) == ("ERROR", "budget_day", "critical")


async def test_a_mail_is_one_document_however_often_it_is_sent(tmp_path: Path) -> None:
    """Firebase's Trigger Email extension sends each document of its collection."""
    store = SqliteLedger(str(tmp_path / "ledger.sqlite3"))
    channel = MailChannel(documents=store, to=["owner@example.com"])
    await channel.send(MESSAGE)
    await channel.send(MESSAGE)

    mails = await store.collection("mail")
    await store.close()
    assert list(mails) == ["budget_day-3"]
    assert mails["budget_day-3"]["to"] == ["owner@example.com"]
    assert mails["budget_day-3"]["message"]["subject"] == "[Twohop] budget_day: critical"
