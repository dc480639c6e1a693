"""Threads that have one core between them take long turns there; on several cores all stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from worker import turns

POLICY = "import os; os.sched_setaffinity(0, {cores}); turns.take_long_turns(); {then}print(os.sched_getscheduler(0))"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a policy")


def policy_on(cores: set[int], *, then: str = "") -> int:
    code = "from worker import turns; " + POLICY.format(cores=cores, then=then)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env)
    return int(done.stdout)


def test_threads_on_one_core_take_long_turns() -> None:
    """Reading a request in the middle of a product costs what the product had in the cache."""
    assert policy_on({min(os.sched_getaffinity(0))}) == os.SCHED_BATCH


def test_threads_on_several_cores_take_turns_as_ever() -> None:
    """There a product has parts, and whoever has one part would wait for another's turn."""
    cores = os.sched_getaffinity(0)
    expected = os.SCHED_OTHER if len(cores) > 1 else os.SCHED_BATCH

    assert policy_on(cores) == expected


def test_what_others_wait_for_takes_its_turn_at_once() -> None:
    """The engine that follows the early one would take three times as long to load under jobs."""
    one = {min(os.sched_getaffinity(0))}

    assert policy_on(one, then="turns.take_turns_at_once(); ") == os.SCHED_OTHER


def test_a_sandbox_that_allows_no_policy_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    monkeypatch.setattr(os, "sched_setscheduler", refuse)

    turns.take_long_turns()
