"""`twohop kill` and `twohop revive`: how much of the service is switched off, who did it, and why."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gate.domain.kill import KillLevel
from gate.guard.kill_ladder import Change, KillLadder, KillRecord
from gate.log import EventLog
from gate.steps.policy import CONFIG_PATH
from twohop.errors import BadInputError
from twohop.given import json_option
from twohop.heard import Heard
from twohop.session import Session
from twohop.show import Column, hint, show, show_json, table, warn

if TYPE_CHECKING:
    from gate.parts import Store

_WORDS = {
    KillLevel.NORMAL: "normal",
    KillLevel.WARN: "warn",
    KillLevel.NO_NEW_WORKERS: "no new workers",
    KillLevel.ANSWERS_ONLY: "who does not pay gets only what was answered before",
    KillLevel.PAYING_ONLY: "who does not pay gets nothing",
    KillLevel.STOP: "stop: nobody, no workers, no queue",
    KillLevel.DETACH_BILLING: "stop, and the billing account is taken away if DETACH_BILLING=armed",
}
_HISTORY_SHOWN = 10

_name_option = click.option("--name", default=getpass.getuser, show_default="who you are here", help="Who does it.")


@click.command()
@click.argument("level", type=click.IntRange(0, 6), required=False)
@_name_option
@click.option("--reason", help="Why; kept for whoever comes after you.")
@json_option
@click.pass_obj
def kill(session: Session, level: int | None, name: str, reason: str | None, *, as_json: bool) -> None:
    """Show the kill level, or go up to LEVEL.

    \b
    1  warn
    2  no new workers
    3  who does not pay gets only what was answered before
    4  who does not pay gets nothing
    5  stop: nobody is served; workers to zero, queue purged, jobs in flight cancelled
    6  5, and the billing account is taken away if DETACH_BILLING=armed

    Every instance obeys within POLICY_SECONDS, which is 10 unless you set it. The provider is stopped by the
    scheduled function `ladder`, within a minute, which also reads back that no worker is left.
    """  # noqa: D301 - click takes a paragraph that begins with \b as it is
    if level is not None:
        _set(session, level, name=name, reason=reason, up=True)
    _show(session, as_json=as_json)


@click.command()
@click.argument("level", type=click.IntRange(0, 5), default=0)
@_name_option
@click.option("--reason", help="Why; kept for whoever comes after you.")
@click.pass_obj
def revive(session: Session, level: int, name: str, reason: str | None) -> None:
    """Go down to LEVEL, by default to 0. A threshold that was reached does not go up again in its hour or day."""
    _set(session, level, name=name, reason=reason, up=False)
    _show(session, as_json=False)


def _set(session: Session, level: int, *, name: str, reason: str | None, up: bool) -> None:
    if not (reason or "").strip():
        raise BadInputError("say why, for whoever comes after you: --reason TEXT")
    assert reason is not None

    async def work(store: Store) -> Change | None:
        now = (await store.read(CONFIG_PATH) or {}).get("kill_level", 0)
        if up and isinstance(now, int) and level < now:
            raise BadInputError(f"the kill level is {now}; to go down, say: twohop revive {level} --reason TEXT")
        if not up and isinstance(now, int) and level > now:
            raise BadInputError(f"the kill level is {now}; to go up, say: twohop kill {level} --reason TEXT")
        return await _ladder(session, store).set_level(level, name=name, reason=reason)

    change = session.run(work)
    hint(f"kill level {change.before} → {change.after}" if change else f"the kill level is {level} already")


def _show(session: Session, *, as_json: bool) -> None:
    async def read(store: Store) -> tuple[int, KillRecord, list[Change]]:
        ladder = _ladder(session, store)
        level = (await store.read(CONFIG_PATH) or {}).get("kill_level", 0)
        return level, await ladder.record(), await ladder.history()

    level, record, history = session.run(read)
    if as_json:
        changes = [msgspec.to_builtins(change) for change in history]
        show_json({"level": level, "done": msgspec.to_builtins(record), "history": changes})
        return
    show(f"kill level {level}: {_WORDS[KillLevel(level)]}", *_done(level, record))
    if history:
        _show_history(history)


def _done(level: int, record: KillRecord) -> list[str]:
    if level < KillLevel.STOP:
        return []
    read_at = record.workers_read_at
    if record.workers_alive is None or read_at is None:
        warn("the provider was not stopped yet, or has no switches: the scheduled function `ladder` does it")
        return []
    lines = [f"workers alive: {record.workers_alive}, read back at {read_at:%H:%M:%S} UTC"]
    return [*lines, f"billing: {record.billing}"] if record.billing else lines


def _show_history(history: list[Change]) -> None:
    made: Any = table(*(Column(name=name) for name in ("when", "level", "who", "why")))
    for change in history[:_HISTORY_SHOWN]:
        made.add_row(f"{change.at:%m-%d %H:%M}", f"{change.before} → {change.after}", change.name, change.reason)
    show("", made)


def _ladder(session: Session, store: Store) -> KillLadder:
    log: EventLog = Heard().log
    return KillLadder(store=store, clock=session.clock, log=log)
