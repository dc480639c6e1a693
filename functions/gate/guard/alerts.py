"""Alerts as states. The operator is told of each change of a state, once, and of nothing else. Pure.

    armed ──► warned ◄──► critical       an observation is this bad now
      ▲          │            │
      │          ▼            ▼
      └ ─ ─ ─ recovered ◄─────┘          it is over; the next observation may raise it again

A value that swings about its threshold would change the state all the time. What is raised is therefore lowered only
when the observation is better by a margin: `Observation.severity_falling`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import assert_never

import msgspec

from gate.money import MICRODOLLARS_PER_DOLLAR

Fact = str | int | None
_HISTORY_MAX = 20


class Severity(StrEnum):
    """How bad what was seen is."""

    FINE = "fine"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertState(StrEnum):
    """Where an alert stands."""

    ARMED = "armed"
    WARNED = "warned"
    CRITICAL = "critical"
    RECOVERED = "recovered"


_RANK = {Severity.FINE: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
_RAISED = {AlertState.WARNED: 1, AlertState.CRITICAL: 2}


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one thing that there is an alert for."""

    alert: str
    """The alert's name, which is its document's too: `alerts/{alert}`."""
    severity: Severity
    text: str
    """One sentence for the operator, with what to do about it."""
    facts: Mapping[str, Fact] = msgspec.field(default_factory=dict)
    severity_falling: Severity | None = None
    """The severity for an alert that is raised already, never below `severity`; None if it is the same."""


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One change of an alert's state."""

    state: AlertState
    at: datetime
    text: str


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """The document of an alert."""

    state: AlertState
    since: datetime
    text: str
    facts: dict[str, Fact] = {}
    number: int = 1
    """How many changes there were; with the alert's name it names the message."""
    untold: tuple[str, ...] = ()
    """Channels that the last change did not reach yet."""
    mark: str = ""
    """Random: tells whose writing this is when two watch at once."""
    history: tuple[Transition, ...] = ()
    """The last changes, newest first."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator is told: one change of one alert."""

    message_id: str
    """The same at each try to deliver it, so that a receiver can tell a repetition."""
    alert: str
    state: AlertState
    text: str
    facts: Mapping[str, Fact]
    at: datetime


def transition(
    before: Alert | None, seen: Observation, *, at: datetime, channels: Sequence[str], mark: str
) -> Alert | None:
    """Return the alert after an observation, to be told on all channels; None if its state stays as it is."""
    was = before.state if before else AlertState.ARMED
    state = _next(was, seen)
    if state is was:
        return None
    history = (Transition(state=state, at=at, text=seen.text), *(before.history if before else ()))
    return Alert(
        state=state,
        since=at,
        text=seen.text,
        facts=dict(seen.facts),
        number=before.number + 1 if before else 1,
        untold=tuple(channels),
        mark=mark,
        history=history[:_HISTORY_MAX],
    )


def message_of(name: str, alert: Alert) -> Message:
    """Return what is to be told of an alert's last change."""
    return Message(
        message_id=f"{name}-{alert.number}",
        alert=name,
        state=alert.state,
        text=alert.text,
        facts=alert.facts,
        at=alert.since,
    )


def share_severity(share_percent: float, *, warn_percent: int, critical_percent: int) -> Severity:
    """Return how bad a share of something limited is."""
    if share_percent >= critical_percent:
        return Severity.CRITICAL
    return Severity.WARNING if share_percent >= warn_percent else Severity.FINE


def dollars(microdollars: int) -> str:
    """Return an amount as it stands in a sentence."""
    return f"${microdollars / MICRODOLLARS_PER_DOLLAR:,.2f}"


def _next(state: AlertState, seen: Observation) -> AlertState:
    severity = seen.severity
    falling = _RANK[severity] < _RAISED.get(state, 0)
    if falling and seen.severity_falling is not None:
        severity = min(seen.severity_falling, _severity_of(state), key=_RANK.__getitem__)
    match severity:
        case Severity.CRITICAL:
            return AlertState.CRITICAL
        case Severity.WARNING:
            return AlertState.WARNED
        case Severity.FINE:
            return AlertState.RECOVERED if state in _RAISED else state
        case _:
            assert_never(severity)


def _severity_of(state: AlertState) -> Severity:
    return Severity.CRITICAL if state is AlertState.CRITICAL else Severity.WARNING
