"""`twohop alerts`: what the watchdog has to tell, and what it told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gate.guard.alarm import ALERTS
from gate.guard.alerts import Alert, AlertState
from gate.guard.dead_man import WATCH_PATH
from twohop.given import json_option
from twohop.session import Session
from twohop.show import Column, distance, hint, show, show_json, table, warn

if TYPE_CHECKING:
    from gate.parts import Store

_RAISED = (AlertState.CRITICAL, AlertState.WARNED)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also those that recovered.")
@json_option
@click.pass_obj
def alerts(session: Session, *, everything: bool, as_json: bool) -> None:
    """Show the alerts that are raised, worst first. The exit status is 1 while one is critical."""
    documents, watch = session.run(_read)
    found = _parsed(documents)
    shown = {name: alert for name, alert in found.items() if everything or alert.state in _RAISED}
    if as_json:
        show_json(shown)
    else:
        _show(shown, session)
        _show_watch(watch, session)
    if any(alert.state is AlertState.CRITICAL for alert in found.values()):
        raise SystemExit(1)


async def _read(store: Store) -> tuple[dict[str, dict[str, Any]], dict[str, Any] | None]:
    return await store.collection(ALERTS), await store.read(WATCH_PATH)


def _parsed(documents: Mapping[str, dict[str, Any]]) -> dict[str, Alert]:
    found: dict[str, Alert] = {}
    for name, document in documents.items():
        try:
            found[name] = msgspec.convert(document, Alert)
        except msgspec.ValidationError as exc:
            warn(f"alerts/{name} is malformed and begins anew at the next look: {exc}")
    worst_first = {state: place for place, state in enumerate((*_RAISED, AlertState.RECOVERED, AlertState.ARMED))}
    return dict(sorted(found.items(), key=lambda item: (worst_first[item[1].state], item[0])))


def _show(shown: Mapping[str, Alert], session: Session) -> None:
    if not shown:
        hint("no alert is raised")
        return
    made = table(Column(name="alert"), Column(name="state"), Column(name="for", number=True), Column(name="what"))
    for name, alert in shown.items():
        made.add_row(name, alert.state.value, distance(session.now() - alert.since), alert.text)
    made.columns[-1].no_wrap = False
    show(made)
    for name, alert in shown.items():
        if alert.untold:
            warn(f"{name} did not reach {', '.join(alert.untold)} yet; it is tried again at the next look")


def _show_watch(watch: Mapping[str, Any] | None, session: Session) -> None:
    try:
        looked = msgspec.convert((watch or {}).get("at"), datetime)
    except msgspec.ValidationError:
        warn("the watchdog has not looked yet; the scheduled function `sweep` makes it look every 5 minutes")
        return
    hint(f"the watchdog looked {distance(session.now() - looked)} ago")
