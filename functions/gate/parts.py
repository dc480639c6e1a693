"""What the settings choose: adapters, prices, secrets. All that can be wrong with settings is found here.

This is the one place that knows every adapter. Each is imported when it is chosen, so that a cold start pays only
for what it uses, and none connects to anything before the event loop runs: the server forks after importing.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Protocol, assert_never

import msgspec

from gate.callers.api_tokens import ApiTokenVerifier
from gate.connections import KeptConnections
from gate.document_store import DocumentStore
from gate.domain.api_token import TokenSigner
from gate.domain.model import ServedModel
from gate.endpoints.cors import Origins
from gate.errors import GateError, SettingsError
from gate.log import EventLog
from gate.money import Tariff, gate_price, gpu_price, own_price
from gate.ports import CallerVerifier, Clock, Credentials, Documents, Ledger, ReadsAhead
from gate.provider import Provider
from gate.providers import open_provider
from gate.settings import AppCheckMode, LedgerKind, Settings, SignInKind
from gate.steps.policy import Policies
from gate.steps.results import ResultStore
from gate.steps.webhooks import Webhooks

if TYPE_CHECKING:
    from gate.guard.alarm import Alarm


class Store(Ledger, DocumentStore, Protocol):
    """A ledger with the owner's documents beside it."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What hop 1 is put together of."""

    settings: Settings
    clock: Clock
    log: EventLog
    store: Store
    policies: Policies
    verifier: CallerVerifier
    signer: TokenSigner
    provider: Provider
    model: ServedModel
    results: ResultStore | None
    webhooks: Webhooks
    origins: Origins

    async def read_ahead(self, credentials: Credentials) -> None:
        """Ask for what a caller is checked by: policies, public keys, and as soon as they are known their documents.

        What cannot be had is asked for again by the door, which says why.
        """
        self.policies.read_ahead()
        if isinstance(self.verifier, ReadsAhead):
            with suppress(GateError):
                await self.policies.read_ahead_for(await self.verifier.read_ahead(credentials))


def make_parts(settings: Settings, *, clock: Clock | None = None, log: EventLog | None = None) -> Parts:
    """Choose what the settings name. Connects to nothing.

    Raises:
        SettingsError: a setting names a price, an address or a mode that cannot be.
    """
    clock, log = clock or SystemClock(), log or EventLog()
    store = open_store(settings.ledger, project=settings.project, sqlite_path=settings.sqlite_path)
    signer = token_signer(settings)
    return Parts(
        settings=settings,
        clock=clock,
        log=log,
        store=store,
        policies=Policies(documents=store, notifier=log, clock=clock, fresh_seconds=settings.policy_seconds),
        verifier=ApiTokenVerifier(_verifier(settings, clock), signer=signer, clock=clock),
        signer=signer,
        provider=_provider(settings, clock),
        model=served_model(settings, on=clock.now().date()),
        results=open_result_store(settings, clock=clock),
        webhooks=Webhooks(url=settings.webhook_url, secret=settings.worker_secret.reveal().encode()),
        origins=Origins(settings.allowed_origins, allow_loopback=not settings.deployed),
    )


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


def alarm_of(settings: Settings, documents: Documents, clock: Clock, log: EventLog) -> Alarm:
    """Return what tells the operator, on every channel that the settings name.

    Raises:
        SettingsError: a channel's setting cannot be right.
    """
    from gate.guard.alarm import Alarm
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
