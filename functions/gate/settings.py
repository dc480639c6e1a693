"""Settings: read once from the environment, checked at once, frozen.

Every setting is an environment variable, which for a deployed function is a line in `functions/.env` or a secret of
Google's Secret Manager. Each error says what to write where.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from gate.environment import Environment, Secret, need
from gate.errors import SettingsError
from gate.steps.pacing import READS_PER_MINUTE

_EMULATOR_VARIABLES = ("FIRESTORE_EMULATOR_HOST", "FIREBASE_AUTH_EMULATOR_HOST", "FUNCTIONS_EMULATOR")
_DEV_ADDRESSES = ("RUNPOD_URL", "RUNPOD_CONTROL_URL")
"""Where a GPU cloud is that costs nothing."""
_EMULATOR_REVISION = re.compile(r"^\d*$")
"""firebase-tools gives every emulated function the revision 1; Cloud Run's own look like infer-00001-abc."""

_WAIT_SECONDS_MOST = 240
"""`main.py` gives a call 300 seconds; what comes after the wait has to fit in as well."""

_SUBMIT_SECONDS_MOST = 24 * 3600
"""A job that waits for longer is one that nobody remembers."""


class LedgerKind(StrEnum):
    """Where jobs and counters are kept."""

    FIRESTORE = "firestore"
    SQLITE = "sqlite"


class SignInKind(StrEnum):
    """Who says who is asking."""

    FIREBASE = "firebase"
    DEV = "dev"


class AppCheckMode(StrEnum):
    """Whether a request must prove that it comes from the owner's own app."""

    OFF = "off"
    OPTIONAL = "optional"
    """A token that is there must hold; none is fine."""
    REQUIRED = "required"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that the gate is told from outside."""

    project: str
    ledger: LedgerKind
    sqlite_path: str
    sign_in: SignInKind
    dev_sign_in_secret: Secret
    check_revoked: bool
    """Ask Firebase at each request whether the session was revoked: one more call, and up to an hour sooner."""
    app_check: AppCheckMode
    app_check_consume: bool
    """Let each App Check token be used once only; for models where a replayed request is expensive."""
    project_number: str
    provider: str
    """Who runs the worker: a name of `gate.providers.PROVIDERS`, whose settings are read by itself."""
    worker_secret: Secret
    token_secrets: tuple[Secret, ...]
    """They sign API tokens: the first makes new ones, all are believed. None: there are no API tokens."""
    model: str
    hardware: str
    """`provider/sku` of the price table, for example runpod/AMPERE_24; `own` for a price of your own."""
    price_nanodollars_per_second: int
    """Your own price, when `hardware` is `own`."""
    execution_seconds_max: int
    start_seconds_max: int
    """Longest billed start of a worker: container start and model load, not the image's download."""
    pull_seconds: int | None
    """Fetching the image when a worker starts; None if nobody said."""
    idle_seconds: int
    """The endpoint's idle timeout as it is set at the provider."""
    wait_seconds_max: int
    """How long a call is held open for its answer."""
    submit_seconds_max: int
    """How long a job may wait and run that no call is held open for."""
    webhook_url: str
    """Where the provider tells that such a job has ended."""
    result_bucket: str
    """Where answers are kept that are too large for a document; empty if nowhere."""
    result_folder: str
    """The same on one machine."""
    policy_seconds: float
    """How long a plan, a user's override or the configuration is used before it is read again."""
    reads_per_minute: int
    """How many documents an instance reads for one caller who holds no job."""
    allowed_origins: tuple[str, ...]
    auth_emulator: bool
    deployed: bool
    environment: Environment
    """What all of this was read from; a provider reads its own settings there."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read and check the environment.

        Raises:
            SettingsError: a value is missing, malformed, or not allowed where this runs.
        """
        read = Environment(env)
        project = env.get("GCLOUD_PROJECT") or env.get("GOOGLE_CLOUD_PROJECT") or ""
        settings = cls(
            project=project,
            ledger=LedgerKind(read.one_of("LEDGER", LedgerKind, "firestore")),
            sqlite_path=read.text("SQLITE_PATH", ".twohop/ledger.sqlite3"),
            sign_in=SignInKind(read.one_of("SIGN_IN", SignInKind, "firebase")),
            dev_sign_in_secret=read.secret("DEV_SIGN_IN_SECRET"),
            check_revoked=read.flag("CHECK_REVOKED"),
            app_check=AppCheckMode(read.one_of("APP_CHECK", AppCheckMode, "off")),
            app_check_consume=read.flag("APP_CHECK_CONSUME"),
            project_number=read.text("PROJECT_NUMBER", ""),
            provider=read.text("PROVIDER", "runpod"),
            worker_secret=read.secret("WORKER_SECRET"),
            token_secrets=read.secrets("TOKEN_SECRET"),
            model=read.text("MODEL", "all-MiniLM-L6-v2"),
            hardware=read.text("HARDWARE", "runpod/AMPERE_16"),
            price_nanodollars_per_second=read.number("PRICE_NANODOLLARS_PER_SECOND", 0, least=0),
            execution_seconds_max=read.number("EXECUTION_SECONDS_MAX", 30, least=5),
            start_seconds_max=read.number("START_SECONDS_MAX", 60, least=0),
            pull_seconds=read.number("PULL_SECONDS", 0, least=0) if read.text("PULL_SECONDS", "") else None,
            idle_seconds=read.number("IDLE_SECONDS", 5, least=0),
            wait_seconds_max=read.number("WAIT_SECONDS_MAX", 120, least=1, most=_WAIT_SECONDS_MOST),
            submit_seconds_max=read.number("SUBMIT_SECONDS_MAX", 3600, least=10, most=_SUBMIT_SECONDS_MOST),
            webhook_url=read.text("WEBHOOK_URL", f"https://us-central1-{project}.cloudfunctions.net/webhook"),
            result_bucket=read.text("RESULT_BUCKET", ""),
            result_folder=read.text("RESULT_FOLDER", ""),
            policy_seconds=float(read.number("POLICY_SECONDS", 10, least=0)),
            reads_per_minute=read.number("READS_PER_MINUTE", READS_PER_MINUTE, least=1),
            allowed_origins=read.words("ALLOWED_ORIGINS"),
            auth_emulator=bool(env.get("FIREBASE_AUTH_EMULATOR_HOST")),
            deployed=_is_deployed(env),
            environment=read,
        )
        settings._check(env)
        return settings

    @property
    def model_name(self) -> str:
        """The model as callers name it: the last part of a hub id or a folder."""
        return self.model.rstrip("/").rsplit("/", 1)[-1].lower()

    def _check(self, env: Mapping[str, str]) -> None:
        if self.deployed:
            self._refuse_dev(env)
        on_one_machine = self.ledger is LedgerKind.SQLITE and self.sign_in is SignInKind.DEV
        need(self.project or on_one_machine, "GCLOUD_PROJECT", "the Firebase project's id")
        if self.sign_in is SignInKind.DEV:
            need(self.dev_sign_in_secret, "DEV_SIGN_IN_SECRET", "any long random text; `make dev` makes one")
        if self.app_check is not AppCheckMode.OFF:
            need(self.project_number, "PROJECT_NUMBER", "the project's number, from the Firebase console's settings")
        if self.submit_seconds_max < self.wait_seconds_max:
            raise SettingsError(
                f"SUBMIT_SECONDS_MAX={self.submit_seconds_max} is less than WAIT_SECONDS_MAX="
                f"{self.wait_seconds_max}: a job that outlives its call would be dropped before the call ends"
            )
        if self.hardware == "own":
            priced = env.get("PRICE_NANODOLLARS_PER_SECOND", "").strip()
            need(priced, "PRICE_NANODOLLARS_PER_SECOND", "what a second of your hardware costs; 0 if nothing")
        need(self.worker_secret, "WORKER_SECRET", "`firebase functions:secrets:set WORKER_SECRET`")

    def _refuse_dev(self, env: Mapping[str, str]) -> None:
        """Refuse to run in the cloud with anything that is meant for one machine: it would let anybody in."""
        found = [name for name in (*_EMULATOR_VARIABLES, *_DEV_ADDRESSES) if env.get(name)]
        found += ["SIGN_IN=dev"] * (self.sign_in is SignInKind.DEV)
        found += ["LEDGER=sqlite"] * (self.ledger is LedgerKind.SQLITE)
        found += ["PROVIDER=local"] * (self.provider == "local")
        found += ["RESULT_FOLDER"] * bool(self.result_folder)
        found += ["WEBHOOK_URL without https"] * (not self.webhook_url.startswith("https://"))
        if found:
            raise SettingsError(
                f"this is a deployed instance and it was given {', '.join(found)}; "
                "take that out of functions/.env and deploy again"
            )


def _is_deployed(env: Mapping[str, str]) -> bool:
    """Return whether this is Google's cloud. A real revision's name outweighs a variable that says emulator."""
    if not env.get("K_SERVICE"):
        return False
    return not (env.get("FUNCTIONS_EMULATOR") == "true" and _EMULATOR_REVISION.match(env.get("K_REVISION", "")))
