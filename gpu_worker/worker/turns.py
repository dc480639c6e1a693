"""Turns of threads that have one core between them: longer ones, that end where a batch does.

A batch is computed by one thread while another reads the next requests and writes the last answers. On one core, a
change in the middle of a product costs what was in the cache, and a batch that begins before the requests that are
there have been read begins without them.
"""

from __future__ import annotations

import os
from contextlib import suppress


def take_long_turns() -> None:
    """Have threads that wake up wait for the end of another's turn: this one and those that it will start.

    On one core only; on several it is the parts of a product that would wait. Where the system has no such policy, or
    a sandbox allows none, all stays as it is.
    """
    if hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == 1:
        _take("SCHED_BATCH")


def take_turns_at_once() -> None:
    """Have this thread run as soon as it wakes up, whoever's turn it is: others wait for what it does."""
    _take("SCHED_OTHER")


def end_turn() -> None:
    """Let the threads run that are ready and have no core of their own. Returns at once if there are none."""
    if hasattr(os, "sched_yield"):
        os.sched_yield()


def _take(policy: str) -> None:
    if hasattr(os, policy):
        with suppress(OSError):
            os.sched_setscheduler(0, getattr(os, policy), os.sched_param(0))
