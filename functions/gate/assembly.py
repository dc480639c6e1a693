"""The parts become the gate, the gate gets its doors.

A cold start imports this, and with it most of the gate, while the owner's documents are under way (ADR 0008).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from gate.callers.api_tokens import LiveTokenVerifier
from gate.domain.model import ServedModel
from gate.endpoints.callables import Callables, make_callables
from gate.endpoints.entrance import Entrance
from gate.endpoints.webhook import WebhookDoor
from gate.guard.dead_man import DeadMansSwitch
from gate.guard.sweeper import Sweeper
from gate.log import EventLog
from gate.parts import Parts, Store, alarm_of
from gate.ports import Clock
from gate.provider import Provider
from gate.service import Gate
from gate.settings import Settings
from gate.steps.following import Follower
from gate.steps.pacing import Pace
from gate.steps.policy import Policies
from gate.steps.results import ResultStore
from gate.tokens import Tokens

if TYPE_CHECKING:
    from gate.endpoints.api.app import HttpApi

REGION = "us-central1"
"""Where hop 1 is deployed."""


class Hop1(Callables, frozen=True, kw_only=True):
    """Everything that `main.py` opens a door to: the callables, and what else there is."""

    settings: Settings
    store: Store
    provider: Provider
    model: ServedModel
    policies: Policies
    clock: Clock
    log: EventLog
    sweeper: Sweeper
    follower: Follower
    """Stops a running job at its provider and settles it, or does what is due for it."""
    results: ResultStore | None
    webhook: ASGIApp
    api: Callable[[], HttpApi]
    """Returns the HTTP routes: OpenAI's, Hugging Face's, and their description. Other functions never load them."""

    async def close(self) -> None:
        """Let go of connections and files."""
        if self.results:
            await self.results.close()
        await self.provider.close()
        await self.store.close()


def assemble(parts: Parts) -> Hop1:
    """Put hop 1 together."""
    clock, log = parts.clock, parts.log
    pace = Pace(reads_per_minute=parts.settings.reads_per_minute, clock=clock)
    gate = Gate(
        policies=parts.policies,
        ledger=parts.store,
        provider=parts.provider,
        model=parts.model,
        webhooks=parts.webhooks,
        results=parts.results,
        pace=pace,
        clock=clock,
        log=log,
    )
    tokens = Tokens(policies=parts.policies, documents=parts.store, signer=parts.signer, clock=clock, pace=pace)
    live = LiveTokenVerifier(parts.verifier, tokens=tokens, pace=pace)
    entrance = Entrance(verifier=parts.verifier, live_verifier=live, origins=parts.origins, log=log)
    callables = make_callables(gate, tokens, entrance, clock=clock)
    switch = _dead_mans_switch(parts)
    return Hop1(
        settings=parts.settings,
        store=parts.store,
        provider=parts.provider,
        model=parts.model,
        policies=parts.policies,
        clock=clock,
        log=log,
        sweeper=Sweeper(ledger=parts.store, policies=parts.policies, clock=clock, log=log, visit=gate.follower.visit),
        follower=gate.follower,
        results=parts.results,
        infer=switch.around(callables.infer),
        submit=switch.around(callables.submit),
        job=callables.job,
        cancel=callables.cancel,
        quota=callables.quota,
        tokens=callables.tokens,
        webhook=WebhookDoor(gate.jobs.ended, webhooks=parts.webhooks, log=log),
        api=cache(partial(_make_api, gate, entrance, clock, parts.settings)),
    )


def _dead_mans_switch(parts: Parts) -> DeadMansSwitch:
    open_alarm = partial(alarm_of, parts.settings, parts.store, parts.clock, parts.log)
    return DeadMansSwitch(documents=parts.store, open_alarm=open_alarm, clock=parts.clock, log=parts.log)


def _make_api(gate: Gate, entrance: Entrance, clock: Clock, settings: Settings) -> HttpApi:
    from gate.endpoints.api.table import make_api

    return make_api(gate, entrance, clock=clock, callables_url=callables_url(settings))


def callables_url(settings: Settings) -> str:
    """Return where the callables are. On one machine they are below the server that was asked."""
    if settings.deployed:
        return f"https://{REGION}-{settings.project}.cloudfunctions.net"
    return f"/{settings.project or 'demo-twohop'}/{REGION}"
