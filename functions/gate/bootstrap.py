"""The composition root: settings become adapters, adapters become the gate, the gate gets its doors.

This is the one place that knows every adapter. Each is imported when it is chosen, so that a cold start pays only
for what it uses, and made inside the running event loop, never at import: the server forks after importing.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Protocol, assert_never

import msgspec
from starlette.types import ASGIApp

from gate.callers.api_tokens import ApiTokenVerifier, LiveTokenVerifier
from gate.connections import KeptConnections
from gate.document_store import DocumentStore
from gate.domain.api_token import TokenSigner
from gate.domain.model import ServedModel
from gate.endpoints.callables import make_callables
from gate.endpoints.cors import Origins
from gate.endpoints.entrance import Entrance
from gate.endpoints.webhook import WebhookDoor
from gate.errors import SettingsError
from gate.guard.alarm import Alarm
from gate.guard.dead_man import DeadMansSwitch
from gate.guard.sweeper import Sweeper
from gate.log import EventLog
from gate.money import Tariff, gate_price, gpu_price, own_price
from gate.ports import CallerVerifier, Clock, Documents, Ledger
from gate.provider import Provider
from gate.providers import open_provider
from gate.service import Gate
from gate.settings import AppCheckMode, LedgerKind, Settings, SignInKind
from gate.steps.following import Follower
from gate.steps.pacing import Pace
from gate.steps.policy import Policies
from gate.steps.results import ResultStore
from gate.steps.webhooks import Webhooks
from gate.tokens import Tokens

if TYPE_CHECKING:
    from gate.endpoints.api.app import HttpApi

REGION = "us-central1"
"""Where hop 1 is deployed."""


class Store(Ledger, DocumentStore, Protocol):
    """A ledger with the owner's documents beside it."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)


class Hop1(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `main.py` opens a door to."""

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
    infer: ASGIApp
    submit: ASGIApp
    job: ASGIApp
    cancel: ASGIApp
    quota: ASGIApp
    tokens: ASGIApp
    webhook: ASGIApp
    api: Callable[[], HttpApi]
    """Returns the HTTP routes: OpenAI's, Hugging Face's, and their description. Other functions never load them."""

    async def close(self) -> None:
        """Let go of connections and files."""
        if self.results:
            await self.results.close()
        await self.provider.close()
        await self.store.close()


@cache
def hop1() -> Hop1:
    """Return this process's hop 1, made from the environment at the first call.

    Raises:
        SettingsError: the environment does not describe one; the reason says what to write where.
    """
    made = make_hop1(Settings.from_env(os.environ))
    # What is there now stays; without this, each full collection would look through all of it again.
    gc.freeze()
    return made


def hop1_for_jobs() -> Hop1:
    """Return this process's hop 1 for a first call that asks for a job, from within the event loop.

    What every job is checked by is asked for at once, while the caller's token is verified: two round trips less to
    the first answer. Whoever comes without a token causes no more than these few reads in an instance's life.
    """
    made = hop1()
    made.policies.read_ahead()
    return made


def check(env: Mapping[str, str]) -> None:
    """Make a hop 1 from an environment, and let it go. Connects to nothing.

    Raises:
        SettingsError: the environment does not describe one.
    """
    make_hop1(Settings.from_env(env))


def make_hop1(settings: Settings, *, clock: Clock | None = None, log: EventLog | None = None) -> Hop1:
    """Put hop 1 together.

    Raises:
        SettingsError: a setting names a price, an address or a mode that cannot be.
    """
    clock, log = clock or SystemClock(), log or EventLog()
    store = open_store(settings.ledger, project=settings.project, sqlite_path=settings.sqlite_path)
    provider = _provider(settings, clock)
    signer = token_signer(settings)
    policies = Policies(documents=store, notifier=log, clock=clock, fresh_seconds=settings.policy_seconds)
    results = open_result_store(settings, clock=clock)
    webhooks = Webhooks(url=settings.webhook_url, secret=settings.worker_secret.reveal().encode())
    model = served_model(settings, on=clock.now().date())
    pace = Pace(reads_per_minute=settings.reads_per_minute, clock=clock)
    gate = Gate(
        policies=policies,
        ledger=store,
        provider=provider,
        model=model,
        webhooks=webhooks,
        results=results,
        pace=pace,
        clock=clock,
        log=log,
    )
    tokens = Tokens(policies=policies, documents=store, signer=signer, clock=clock, pace=pace)
    entrance = _entrance(settings, tokens, signer=signer, pace=pace, clock=clock, log=log)
    callables = make_callables(gate, tokens, entrance, clock=clock)
    switch = _dead_mans_switch(settings, store, clock, log)
    return Hop1(
        settings=settings,
        store=store,
        provider=provider,
        model=model,
        policies=policies,
        clock=clock,
        log=log,
        sweeper=Sweeper(ledger=store, policies=policies, clock=clock, log=log, visit=gate.follower.visit),
        follower=gate.follower,
        results=results,
        infer=switch.around(callables.infer),
        submit=switch.around(callables.submit),
        job=callables.job,
        cancel=callables.cancel,
        quota=callables.quota,
        tokens=callables.tokens,
        webhook=WebhookDoor(gate.jobs.ended, webhooks=webhooks, log=log),
        api=cache(partial(_make_api, gate, entrance, clock, settings)),
    )


def _entrance(
    settings: Settings, tokens: Tokens, *, signer: TokenSigner, pace: Pace, clock: Clock, log: EventLog
) -> Entrance:
    verifier = ApiTokenVerifier(_verifier(settings, clock), signer=signer, clock=clock)
    live = LiveTokenVerifier(verifier, tokens=tokens, pace=pace)
    origins = Origins(settings.allowed_origins, allow_loopback=not settings.deployed)
    return Entrance(verifier=verifier, live_verifier=live, origins=origins, log=log)


def open_store(kind: LedgerKind, *, project: str, sqlite_path: str) -> Store:
    """Return the ledger that is configured, without connecting yet."""
    match kind:
        case LedgerKind.FIRESTORE:
            from gate.ledgers.firestore import FirestoreLedger

            return FirestoreLedger(project=project)
        case LedgerKind.SQLITE:
            from gate.ledgers.sqlite import SqliteLedger

            return SqliteLedger(sqlite_path)
        case _:
            assert_never(kind)


def _make_api(gate: Gate, entrance: Entrance, clock: Clock, settings: Settings) -> HttpApi:
    from gate.endpoints.api.table import make_api

    return make_api(gate, entrance, clock=clock, callables_url=callables_url(settings))


def callables_url(settings: Settings) -> str:
    """Return where the callables are. On one machine they are below the server that was asked."""
    if settings.deployed:
        return f"https://{REGION}-{settings.project}.cloudfunctions.net"
    return f"/{settings.project or 'demo-twohop'}/{REGION}"


def _dead_mans_switch(settings: Settings, documents: Documents, clock: Clock, log: EventLog) -> DeadMansSwitch:
    open_alarm = partial(alarm_of, settings, documents, clock, log)
    return DeadMansSwitch(documents=documents, open_alarm=open_alarm, clock=clock, log=log)


def alarm_of(settings: Settings, documents: Documents, clock: Clock, log: EventLog) -> Alarm:
    """Return what tells the operator, on every channel that the settings name.

    Raises:
        SettingsError: a channel's setting cannot be right.
    """
    from gate.guard.channels import open_channels

    channels = open_channels(settings.environment, documents=documents, clock=clock, log=log)
    return Alarm(documents=documents, channels=channels, clock=clock, log=log)


def token_signer(settings: Settings) -> TokenSigner:
    """Return what makes and reads this project's API tokens.

    Raises:
        SettingsError: a secret is too short to be one.
    """
    try:
        return TokenSigner(
            project=settings.project, secrets=[secret.reveal().encode() for secret in settings.token_secrets]
        )
    except ValueError as exc:
        raise SettingsError(str(exc)) from exc


def open_result_store(settings: Settings, *, clock: Clock) -> ResultStore | None:
    """Return where large answers are kept, without connecting yet; None if nowhere."""
    if settings.result_bucket:
        from gate.stores.bucket import BucketResultStore

        return BucketResultStore(settings.result_bucket, clock=clock)
    if settings.result_folder:
        from gate.stores.files import FileResultStore

        url, secret = f"{settings.webhook_url.rpartition('/')[0]}/result", settings.worker_secret.reveal().encode()
        return FileResultStore(settings.result_folder, url=url, secret=secret, clock=clock)
    return None


def served_model(settings: Settings, *, on: date) -> ServedModel:
    """Return the model with its prices.

    Raises:
        SettingsError: the hardware has no price, or bills a time that nobody stated; a model that cannot be priced is
            not served.
    """
    if settings.hardware == "own":
        gpu = own_price(nanodollars_per_second=settings.price_nanodollars_per_second, on=on)
    else:
        gpu = gpu_price(settings.hardware, on=on)
    if gpu.bills_image_pull and settings.pull_seconds is None:
        raise SettingsError(
            f"PULL_SECONDS is not set: {settings.hardware} bills the image's download as well; say in functions/.env "
            "how long it takes at most, and 0 if the machine always runs"
        )
    tariff = Tariff(
        gpu=gpu,
        gate=gate_price(on=on),
        start_ms_max=settings.start_seconds_max * 1000,
        idle_ms=settings.idle_seconds * 1000,
        pull_ms=(settings.pull_seconds or 0) * 1000,
    )
    return ServedModel(
        name=settings.model_name,
        tariff=tariff,
        execution_ms_max=settings.execution_seconds_max * 1000,
        wait_ms_max=settings.wait_seconds_max * 1000,
        outlive_ms_max=settings.submit_seconds_max * 1000,
    )


def _provider(settings: Settings, clock: Clock) -> Provider:
    """Return the host of the model.

    Raises:
        SettingsError: it is not set up, or jobs would be given up while they run, and paid in full.
    """
    provider = open_provider(settings, clock=clock)
    name, seconds = "WAIT_SECONDS_MAX", settings.wait_seconds_max
    if provider.capabilities.queues:
        name, seconds = "SUBMIT_SECONDS_MAX", settings.submit_seconds_max
    if seconds < settings.execution_seconds_max:
        raise SettingsError(
            f"{name}={seconds} is less than EXECUTION_SECONDS_MAX={settings.execution_seconds_max}: jobs would be "
            "given up while they run, and paid in full"
        )
    return provider


def _verifier(settings: Settings, clock: Clock) -> CallerVerifier:
    """Return who says who is asking; App Check, when it is on, stands around it."""
    verifier = _sign_in(settings, clock)
    if settings.app_check is AppCheckMode.OFF:
        return verifier
    from gate.callers.app_check import AppCheckVerifier
    from gate.callers.keys import RemoteKeys
    from gate.callers.replay import FirebaseReplayGuard

    return AppCheckVerifier(
        verifier,
        project_number=settings.project_number,
        keys=RemoteKeys.of_app_check(_google(), clock),
        clock=clock,
        required=settings.app_check is AppCheckMode.REQUIRED,
        consume=FirebaseReplayGuard(project=settings.project) if settings.app_check_consume else None,
    )


def _sign_in(settings: Settings, clock: Clock) -> CallerVerifier:
    if settings.sign_in is SignInKind.DEV:
        from gate.callers.dev import DevSignIn

        return DevSignIn(secret=settings.dev_sign_in_secret.reveal(), clock=clock, deployed=settings.deployed)
    if settings.auth_emulator:
        from gate.callers.emulator import EmulatorCallerVerifier

        return EmulatorCallerVerifier(project=settings.project, clock=clock, deployed=settings.deployed)
    from gate.callers.accounts import FirebaseAccounts
    from gate.callers.firebase import FirebaseCallerVerifier
    from gate.callers.keys import RemoteKeys

    return FirebaseCallerVerifier(
        project=settings.project,
        keys=RemoteKeys.of_firebase(_google(), clock),
        clock=clock,
        lookup=FirebaseAccounts(project=settings.project) if settings.check_revoked else None,
    )


def _google() -> KeptConnections:
    """Return connections for Google's public keys: two addresses, asked a few times a day."""
    return KeptConnections(connections_max=2, kept_seconds=4)
