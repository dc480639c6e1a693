"""Alerts as states: pure."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.guard.alerts import Alert, AlertState, Observation, Severity, message_of, transition
from tests.makers import NOON

FINE, WARNING, CRITICAL = Severity.FINE, Severity.WARNING, Severity.CRITICAL
ARMED, WARNED, RAISED, RECOVERED = AlertState.ARMED, AlertState.WARNED, AlertState.CRITICAL, AlertState.RECOVERED


def seen(severity: Severity, falling: Severity | None = None) -> Observation:
    return Observation(alert="budget_day", severity=severity, severity_falling=falling, text=f"it is {severity}")


def after(before: Alert | None, observation: Observation) -> Alert | None:
    return transition(before, observation, at=NOON, channels=("log",), mark="m")


def alert(state: AlertState) -> Alert:
    return Alert(state=state, since=NOON, text="before")


@pytest.mark.parametrize(
    ("before", "severity", "state"),
    [
        (ARMED, FINE, None),
        (ARMED, WARNING, WARNED),
        (ARMED, CRITICAL, RAISED),
        (WARNED, FINE, RECOVERED),
        (WARNED, WARNING, None),
        (WARNED, CRITICAL, RAISED),
        (RAISED, FINE, RECOVERED),
        (RAISED, WARNING, WARNED),
        (RAISED, CRITICAL, None),
        (RECOVERED, FINE, None),
        (RECOVERED, WARNING, WARNED),
        (RECOVERED, CRITICAL, RAISED),
    ],
    ids=lambda value: str(value) if value else "stays",
)
def test_each_state_moves_as_the_drawing_says(
    before: AlertState, severity: Severity, state: AlertState | None
) -> None:
    changed = after(alert(before), seen(severity))

    assert (changed.state if changed else None) is state


def test_nothing_is_told_of_what_was_always_fine() -> None:
    """A first look that sees nothing wrong writes no document."""
    assert after(None, seen(FINE)) is None


def test_a_value_that_swings_about_its_threshold_is_told_once() -> None:
    """Holds come and settle lower, so a budget's share goes up and down all day."""
    warned = after(None, seen(WARNING))

    assert after(warned, seen(FINE, falling=WARNING)) is None
    recovered = after(warned, seen(FINE, falling=FINE))
    assert recovered is not None
    assert recovered.state is RECOVERED


def test_the_margin_never_raises_an_alert() -> None:
    """It holds one up, and no more: near a threshold from below is below it."""
    assert after(None, seen(FINE, falling=WARNING)) is None
    assert after(alert(WARNED), seen(WARNING, falling=CRITICAL)) is None
    assert after(alert(WARNED), seen(FINE, falling=CRITICAL)) is None


def test_every_change_has_a_message_id_of_its_own() -> None:
    """A receiver drops repetitions by it, and must not drop a second warning."""
    first = after(None, seen(WARNING))
    assert first is not None
    second = after(first, seen(CRITICAL))
    assert second is not None

    assert [message_of("x", one).message_id for one in (first, second)] == ["x-1", "x-2"]


@given(st.lists(st.sampled_from(list(Severity)), max_size=60))
def test_there_is_one_message_a_transition_and_the_history_tells_the_last_ones(severities: list[Severity]) -> None:
    states, current = [ARMED], None
    told = 0
    for minute, severity in enumerate(severities):
        changed = transition(
            current, seen(severity), at=NOON + timedelta(minutes=minute), channels=("log",), mark=str(minute)
        )
        if changed is not None:
            told += 1
            current = changed
            states.append(changed.state)

    assert told == (current.number if current else 0) == len(states) - 1
    assert all(one is not other for one, other in pairwise(states))
    assert [one.state for one in current.history] == states[:0:-1][:20] if current else told == 0
