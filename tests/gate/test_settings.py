"""Settings say what is missing and where to write it, and nothing of one machine's gets into the cloud."""

from __future__ import annotations

from typing import Any

import pytest

from gate import bootstrap
from gate.environment import Secret
from gate.errors import SettingsError
from gate.settings import AppCheckMode, LedgerKind, Settings, SignInKind

WORKER_SECRET, RUNPOD_KEY, DEV_SECRET = "w0rker-" * 6, "rpa_k3y-of-runpod", "d3v-sign-in-secret-" * 3
CLOUD = {
    "GCLOUD_PROJECT": "my-project",
    "RUNPOD_ENDPOINT_ID": "abc123",
    "RUNPOD_API_KEY": RUNPOD_KEY,
    "WORKER_SECRET": WORKER_SECRET,
}
DEPLOYED = {**CLOUD, "K_SERVICE": "infer", "K_REVISION": "infer-00001-abc"}
DEV = {
    "LEDGER": "sqlite",
    "SIGN_IN": "dev",
    "DEV_SIGN_IN_SECRET": DEV_SECRET,
    "PROVIDER": "local",
    "LOCAL_WORKER_URL": "http://127.0.0.1:8788",
    "WORKER_SECRET": WORKER_SECRET,
}


def settings(env: dict[str, str], **changes: str | None) -> Settings:
    merged: dict[str, Any] = {**env, **changes}
    given = {name: value for name, value in merged.items() if value is not None}
    bootstrap.check(given)
    return Settings.from_env(given)


@pytest.mark.parametrize("env", [CLOUD, DEPLOYED], ids=["anywhere", "deployed"])
def test_four_lines_are_enough_for_the_cloud(env: dict[str, str]) -> None:
    """Everything else has a default that is safe there."""
    read = settings(env)

    assert (read.ledger, read.sign_in, read.provider) == (
        LedgerKind.FIRESTORE,
        SignInKind.FIREBASE,
        "runpod",
    )
    assert (read.app_check, read.allowed_origins, read.auth_emulator) == (AppCheckMode.OFF, (), False)
    assert read.deployed is ("K_SERVICE" in env)


def test_one_machine_needs_no_project() -> None:
    """`make dev` needs Python alone."""
    read = settings(DEV)

    assert (read.ledger, read.sign_in, read.provider) == (LedgerKind.SQLITE, SignInKind.DEV, "local")


@pytest.mark.parametrize(
    ("env", "changes", "name", "remedy"),
    [
        pytest.param(CLOUD, {"GCLOUD_PROJECT": None}, "GCLOUD_PROJECT", "project's id", id="project"),
        pytest.param(
            CLOUD, {"GCLOUD_PROJECT": None, "LEDGER": "sqlite"}, "GCLOUD_PROJECT", "id", id="tokens-project"
        ),
        pytest.param(CLOUD, {"RUNPOD_ENDPOINT_ID": None}, "RUNPOD_ENDPOINT_ID", "serverless endpoint", id="endpoint"),
        pytest.param(CLOUD, {"RUNPOD_ENDPOINT_ID": "  "}, "RUNPOD_ENDPOINT_ID", "endpoint", id="endpoint-blank"),
        pytest.param(CLOUD, {"RUNPOD_API_KEY": None}, "RUNPOD_API_KEY", "secrets:set RUNPOD_API_KEY", id="api-key"),
        pytest.param(CLOUD, {"WORKER_SECRET": None}, "WORKER_SECRET", "secrets:set WORKER_SECRET", id="secret"),
        pytest.param(CLOUD, {"WORKER_SECRET": "short"}, "WORKER_SECRET", "secrets.token_hex", id="secret-short"),
        pytest.param(CLOUD, {"PROVIDER": "container"}, "CONTAINER_URL", "https://", id="container-url"),
        pytest.param(CLOUD, {"APP_CHECK": "required"}, "PROJECT_NUMBER", "Firebase console", id="project-number"),
        pytest.param(CLOUD, {"APP_CHECK": "optional"}, "PROJECT_NUMBER", "Firebase console", id="project-number-too"),
        pytest.param(CLOUD, {"HARDWARE": "own"}, "PRICE_NANODOLLARS_PER_SECOND", "functions/.env", id="own-price"),
        pytest.param(DEV, {"DEV_SIGN_IN_SECRET": None}, "DEV_SIGN_IN_SECRET", "make dev", id="dev-secret"),
        pytest.param(DEV, {"LOCAL_WORKER_URL": None}, "LOCAL_WORKER_URL", "make dev", id="local-url"),
    ],
)
def test_a_missing_setting_names_itself_and_the_remedy(
    env: dict[str, str], changes: dict[str, str | None], name: str, remedy: str
) -> None:
    """The operator reads one line, writes one line, and is done."""
    with pytest.raises(SettingsError) as refusal:
        settings(env, **changes)

    assert name in str(refusal.value)
    assert remedy in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        pytest.param("LEDGER", "mysql", "firestore, sqlite", id="ledger"),
        pytest.param("SIGN_IN", "none", "firebase, dev", id="sign-in"),
        pytest.param("PROVIDER", "aws", "runpod, container, local", id="provider"),
        pytest.param("APP_CHECK", "true", "off, optional, required", id="app-check"),
        pytest.param("CHECK_REVOKED", "yes", "true, false", id="flag"),
        pytest.param("APP_CHECK_CONSUME", "True", "true, false", id="flag-case"),
        pytest.param("EXECUTION_SECONDS_MAX", "4", "from 5", id="below-least"),
        pytest.param("WAIT_SECONDS_MAX", "0", "from 1 to 240", id="no-wait"),
        pytest.param("START_SECONDS_MAX", "-1", "from 0", id="negative"),
        pytest.param("IDLE_SECONDS", "5.5", "whole number", id="fraction"),
        pytest.param("POLICY_SECONDS", "1e3", "whole number", id="exponent"),
        pytest.param("PRICE_NANODOLLARS_PER_SECOND", "free", "whole number", id="words"),
        pytest.param("WAIT_SECONDS_MAX", "9" * 5_000, "whole number", id="endless"),
        pytest.param("WAIT_SECONDS_MAX", "9" * 20, "whole number", id="no-time-so-long"),
    ],
)
def test_a_malformed_setting_names_itself_and_what_it_may_be(name: str, value: str, says: str) -> None:
    """Nothing is guessed from it."""
    with pytest.raises(SettingsError, match=says) as refusal:
        settings(CLOUD, **{name: value})

    assert str(refusal.value).startswith(name)


APP_OF_THEIR_OWN = {"PROVIDER": "container", "CONTAINER_URL": "https://model.example/run", "CONTAINER_AUTH": "bearer"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        pytest.param({**APP_OF_THEIR_OWN, "WAIT_SECONDS_MAX": "29"}, "WAIT_SECONDS_MAX", id="no-jobs-are-kept"),
        pytest.param(
            {"SUBMIT_SECONDS_MAX": "20", "WAIT_SECONDS_MAX": "10"}, "SUBMIT_SECONDS_MAX", id="jobs-are-kept"
        ),
    ],
)
def test_a_job_must_have_the_time_that_it_may_run(changes: dict[str, str], name: str) -> None:
    """Else it is given up in the middle, and paid in full."""
    with pytest.raises(SettingsError, match="EXECUTION_SECONDS_MAX=30") as refusal:
        settings(CLOUD, **changes)

    assert str(refusal.value).startswith(name)


def test_a_call_may_be_shorter_than_its_job_where_jobs_are_kept() -> None:
    """It then answers with the running job, or ends its stream with it."""
    assert settings(CLOUD, WAIT_SECONDS_MAX="5", EXECUTION_SECONDS_MAX="600").wait_seconds_max == 5


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        pytest.param(
            {"FIRESTORE_EMULATOR_HOST": "127.0.0.1:8080"}, "FIRESTORE_EMULATOR_HOST", id="firestore-emulator"
        ),
        pytest.param({"FIREBASE_AUTH_EMULATOR_HOST": "x:9099"}, "FIREBASE_AUTH_EMULATOR_HOST", id="auth-emulator"),
        pytest.param({"FUNCTIONS_EMULATOR": "true"}, "FUNCTIONS_EMULATOR", id="functions-emulator"),
        pytest.param({"FUNCTIONS_EMULATOR": "false"}, "FUNCTIONS_EMULATOR", id="functions-emulator-false"),
        pytest.param({"SIGN_IN": "dev", "DEV_SIGN_IN_SECRET": DEV_SECRET}, "SIGN_IN=dev", id="dev-sign-in"),
        pytest.param({"LEDGER": "sqlite"}, "LEDGER=sqlite", id="sqlite"),
        pytest.param({"PROVIDER": "local", "LOCAL_WORKER_URL": "http://x"}, "PROVIDER=local", id="local-provider"),
    ],
)
def test_a_deployed_instance_refuses_what_is_meant_for_one_machine(changes: dict[str, str], found: str) -> None:
    """It would let anybody in, or count in a file that dies with the instance."""
    with pytest.raises(SettingsError, match="this is a deployed instance") as refusal:
        settings(DEPLOYED, **changes)

    assert found in str(refusal.value)
    assert "functions/.env" in str(refusal.value)


def test_a_deployed_instance_names_all_that_it_refuses_at_once() -> None:
    """One deployment less."""
    with pytest.raises(SettingsError, match="FIRESTORE_EMULATOR_HOST, SIGN_IN=dev, LEDGER=sqlite, PROVIDER=local"):
        settings({**DEPLOYED, **DEV, "FIRESTORE_EMULATOR_HOST": "x"})


@pytest.mark.parametrize("revision", ["infer-00001-abc", "infer-00042-xyz", "infer", "1-infer"])
def test_a_faked_emulator_does_not_undo_a_real_revisions_name(revision: str) -> None:
    """A line in functions/.env could say it; Cloud Run's own name of the revision says otherwise."""
    with pytest.raises(SettingsError, match="deployed instance"):
        settings({**DEPLOYED, "K_REVISION": revision, "FUNCTIONS_EMULATOR": "true"})


@pytest.mark.parametrize("emulator", ["1", "TRUE", "yes", ""])
def test_only_the_emulators_own_word_counts_as_emulator(emulator: str) -> None:
    """firebase-tools says `true`."""
    env = {**CLOUD, "K_SERVICE": "infer", "K_REVISION": "1", "FUNCTIONS_EMULATOR": emulator, "LEDGER": "sqlite"}

    with pytest.raises(SettingsError, match="deployed instance"):
        settings(env)


def test_the_functions_emulator_is_not_deployed() -> None:
    """It sets K_SERVICE as the cloud does, and numbers its revisions."""
    read = settings(
        CLOUD,
        K_SERVICE="infer",
        K_REVISION="1",
        FUNCTIONS_EMULATOR="true",
        FIRESTORE_EMULATOR_HOST="127.0.0.1:8080",
        FIREBASE_AUTH_EMULATOR_HOST="127.0.0.1:9099",
    )

    assert not read.deployed
    assert read.auth_emulator


@pytest.mark.parametrize("env", [CLOUD, DEV, {**CLOUD, **DEV}], ids=["cloud", "dev", "both"])
def test_no_secret_shows_in_the_settings(env: dict[str, str]) -> None:
    """They are printed in tracebacks and in the operator's terminal."""
    read = settings(env)

    shown = f"{read} {read!r} {read.worker_secret} {read.environment!r} {read.dev_sign_in_secret:}"
    assert not any(secret in shown for secret in (WORKER_SECRET, RUNPOD_KEY, DEV_SECRET))
    assert read.worker_secret.reveal() == WORKER_SECRET


@pytest.mark.parametrize(
    "changes",
    [
        {"GCLOUD_PROJECT": None},
        {"PROVIDER": "aws"},
        {"SIGN_IN": "dev"},
        {"WORKER_SECRET": "much-too-short"},
        {"K_SERVICE": "infer", "LEDGER": "sqlite"},
    ],
    ids=str,
)
def test_no_secret_shows_in_an_error(changes: dict[str, str | None]) -> None:
    """The reason goes to the log."""
    with pytest.raises(SettingsError) as refusal:
        settings(CLOUD, **changes)

    told = f"{refusal.value!r} {refusal.value.public_message} {refusal.value.details}"
    assert not any(secret in told for secret in (WORKER_SECRET, RUNPOD_KEY, "much-too-short"))


def test_a_malformed_setting_of_a_provider_names_itself_too() -> None:
    """Each provider reads its own."""
    with pytest.raises(SettingsError, match="CONTAINER_AUTH='none' is not one of: signature, bearer"):
        settings(CLOUD, PROVIDER="container", CONTAINER_URL="https://x", CONTAINER_AUTH="none")


def test_an_absent_secret_is_no_secret() -> None:
    """It is false, so that it can be asked for."""
    assert not Secret("")
    assert Secret("x")


def test_a_container_with_a_plain_key_may_have_a_key_of_any_length() -> None:
    """It is the container's own; only a signature needs so many bytes."""
    read = settings(
        CLOUD, PROVIDER="container", CONTAINER_URL="https://x", CONTAINER_AUTH="bearer", WORKER_SECRET="short"
    )

    assert read.worker_secret.reveal() == "short"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        pytest.param("sentence-transformers/all-MiniLM-L6-v2", "all-minilm-l6-v2", id="hub-id"),
        pytest.param("/models/My-Model/", "my-model", id="folder"),
        pytest.param("plain", "plain", id="plain"),
    ],
)
def test_callers_name_a_model_by_its_last_part(model: str, name: str) -> None:
    """They need not know where its weights lie."""
    assert settings(CLOUD, MODEL=model).model_name == name


def test_origins_are_words_with_commas_between_them() -> None:
    """Spaces, empty words and closing slashes do no harm."""
    read = settings(CLOUD, ALLOWED_ORIGINS=" https://app.example.com/ , chrome-extension://abc,, ")

    assert read.allowed_origins == ("https://app.example.com", "chrome-extension://abc")


def test_a_price_of_ones_own_may_be_zero_if_it_is_said() -> None:
    """A machine under the desk; but nobody gets a free GPU by leaving a line out."""
    read = settings(CLOUD, HARDWARE="own", PRICE_NANODOLLARS_PER_SECOND="0")

    assert read.price_nanodollars_per_second == 0
