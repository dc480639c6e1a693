"""The composition root: this process's hop 1, from its environment.

    settings ─► parts: what they choose ─► assembly: the gate and its doors

A process's first call for a job asks for what it will be checked by as soon as the parts are there, and imports and
puts together the rest while that is under way.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from gate.endpoints.incoming import credentials_of, headers_of
from gate.parts import Parts, make_parts
from gate.settings import Settings

if TYPE_CHECKING:
    from starlette.types import Scope

    from gate.assembly import Hop1
    from gate.log import EventLog
    from gate.ports import Clock

_TURNS_TO_SEND = 8
"""Of the event loop, from asking for something over a new connection to its first bytes."""
_IN_TURNS = (
    *("gate.jobs", "gate.steps.stop_watch", "gate.service", "gate.endpoints.callables"),
    *("gate.guard.dead_man", "gate.guard.sweeper", "gate.assembly"),
)
"""Modules of the assembly, those first that others import."""
_reading: set[asyncio.Task[None]] = set()
"""The loop forgets tasks that nobody holds on to."""


@cache
def _parts() -> Parts:
    return make_parts(Settings.from_env(os.environ))


@cache
def hop1() -> Hop1:
    """Return this process's hop 1, made from the environment at the first call.

    Raises:
        SettingsError: the environment does not describe one; the reason says what to write where.
    """
    from gate.assembly import assemble

    made = assemble(_parts())
    # What is there now stays; without this, each full collection would look through all of it again. Until now,
    # `main.py` had the collector rest.
    gc.freeze()
    gc.enable()
    return made


async def hop1_for_jobs(scope: Scope) -> Hop1:
    """Return this process's hop 1 for a call that asks for a job, from within the event loop.

    What its caller is checked by is asked for at once, and their documents as soon as their token holds: up to three
    round trips less to the first answer. A stranger causes no more than a few reads in an instance's life.

    Raises:
        SettingsError: as `hop1`.
    """
    reading = asyncio.create_task(_parts().read_ahead(credentials_of(headers_of(scope))))
    _reading.add(reading)
    reading.add_done_callback(_reading.discard)
    for _ in range(_TURNS_TO_SEND):
        await asyncio.sleep(0)
    for name in _IN_TURNS:
        import_module(name)
        await asyncio.sleep(0)  # The loop sends what was asked, and takes what has come.
    return hop1()


def check(env: Mapping[str, str]) -> None:
    """Make hop 1's parts from an environment, and let them go. Connects to nothing.

    Raises:
        SettingsError: it does not describe any.
    """
    make_parts(Settings.from_env(env))


def make_hop1(settings: Settings, *, clock: Clock | None = None, log: EventLog | None = None) -> Hop1:
    """Put another hop 1 together.

    Raises:
        SettingsError: a setting names a price, an address or a mode that cannot be.
    """
    from gate.assembly import assemble

    return assemble(make_parts(settings, clock=clock, log=log))
