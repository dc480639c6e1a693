"""The alarm: alerts' documents on a real ledger, and channels that may fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gate.errors import NotDeliveredError
from gate.guard.alarm import Alarm
from gate.guard.alerts import Message, Observation, Severity
from gate.ledgers.firestore import FirestoreLedger
from gate.ledgers.sqlite import SqliteLedger
from gate.parts import Store
from gate.ports import Documents
from tests.emulators import firestore_emulator, fresh_project
from tests.gate.doubles import WatchedLog
from tests.makers import FakeClock

BAD = Observation(alert="budget_day", severity=Severity.WARNING, text="80 % is spent.", facts={"spent": 4})
GOOD = Observation(alert="budget_day", severity=Severity.FINE, text="All is well.")


class Pager:
    """A channel that keeps what it was sent, and fails as often as it is told to."""

    def __init__(self, name: str = "pager", failures: int = 0) -> None:
        self.name = name
        self.failures = failures
        self.got: list[Message] = []

    async def send(self, message: Message) -> None:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise NotDeliveredError("no answer")
        self.got.append(message)


@pytest.fixture(params=["sqlite", pytest.param("firestore", marks=pytest.mark.emulator)])
async def anywhere(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Documents]:
    """The ledger of one machine, and the one that many instances share."""
    found: Store
    if request.param == "firestore":
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())
        found = FirestoreLedger(fresh_project())
    else:
        found = SqliteLedger(str(tmp_path / "ledger.sqlite3"))
    yield found
    await found.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    store = SqliteLedger(str(tmp_path / "ledger.sqlite3"))
    yield store
    await store.close()


def make_alarm(store: Documents, *channels: Pager, log: WatchedLog | None = None) -> Alarm:
    return Alarm(documents=store, channels=channels, clock=FakeClock(), log=log or WatchedLog())


async def test_a_change_is_told_once_however_often_it_is_seen(store: SqliteLedger) -> None:
    pager = Pager()
    alarm = make_alarm(store, pager)

    for _ in range(3):
        await alarm.observe([BAD])
    for _ in range(3):
        await alarm.observe([GOOD])

    assert [one.state.value for one in pager.got] == ["warned", "recovered"]
    document = await store.read("alerts/budget_day")
    assert document is not None
    assert (document["state"], document["number"], document["untold"]) == ("recovered", 2, [])


async def test_of_many_who_watch_at_once_one_tells(anywhere: Documents) -> None:
    """During a deployment two instances run the schedule."""
    pager = Pager()

    await asyncio.gather(*(make_alarm(anywhere, pager).observe([BAD]) for _ in range(20)))

    assert len(pager.got) == 1


async def test_a_channel_that_fails_is_tried_again_and_the_others_are_not(store: SqliteLedger) -> None:
    """A message is not lost because Slack was away for a minute, and the mail is not sent twice for it."""
    log, mail, chat = WatchedLog(), Pager("mail"), Pager("chat", failures=2)
    alarm = make_alarm(store, mail, chat, log=log)

    for _ in range(4):
        await alarm.observe([BAD])

    assert [one.message_id for one in mail.got] == ["budget_day-1"]
    assert [one.message_id for one in chat.got] == ["budget_day-1"]
    assert len(log.lines("alert.not_delivered")) == 2


async def test_what_was_written_down_and_not_told_is_told_by_the_next(store: SqliteLedger) -> None:
    """A watchdog that is killed between writing and telling loses no message."""
    await make_alarm(store, Pager("pager", failures=1)).observe([BAD])
    pager = Pager()

    await asyncio.gather(*(make_alarm(store, pager).observe([BAD]) for _ in range(10)))

    assert [one.message_id for one in pager.got] == ["budget_day-1"]


async def test_a_channel_that_was_taken_out_is_not_waited_for(store: SqliteLedger) -> None:
    await make_alarm(store, Pager("old", failures=1)).observe([BAD])

    await make_alarm(store, Pager("new")).observe([BAD])

    document = await store.read("alerts/budget_day")
    assert document is not None
    assert document["untold"] == []


async def test_an_alert_that_was_edited_into_none_begins_anew(store: SqliteLedger) -> None:
    """Better told twice than never."""
    log, pager = WatchedLog(), Pager()
    await store.write("alerts/budget_day", {"state": "on fire"})

    await make_alarm(store, pager, log=log).observe([BAD])

    assert [one.text for one in pager.got] == ["80 % is spent."]
    assert len(log.lines("alert.malformed")) == 1
