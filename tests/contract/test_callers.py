"""Every `CallerVerifier` keeps the promises of all of them."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import jwt
import pytest

from gate.callers.api_tokens import ApiTokenVerifier
from gate.callers.app_check import AppCheckVerifier
from gate.callers.dev import DevSignIn
from gate.callers.emulator import EmulatorCallerVerifier
from gate.callers.firebase import FirebaseCallerVerifier
from gate.callers.keys import RemoteKeys
from gate.domain.api_token import Grant, TokenSigner
from gate.ports import CallerVerifier, Credentials
from tests.callers.google import (
    KID,
    PROJECT,
    PROJECT_NUMBER,
    KeyServer,
    app_claims,
    forge,
    id_claims,
    key_set,
    sign,
)
from tests.contract.caller_contract import NOON_SECONDS, CallerVerifierContract, SignedTokenContract, WebTokenContract
from tests.makers import FakeClock

TOKEN_SIGNER = TokenSigner(project=PROJECT, secrets=[b"a secret that signs API tokens, long enough"])
FOREIGN_SIGNER = TokenSigner(project="other-project", secrets=[b"a secret that signs API tokens, long enough"])
DEV_SECRET = "a secret of dev mode, long enough to be one"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def google() -> KeyServer:
    return KeyServer(key_set(KID, "key-2"))


def firebase_verifier(google: KeyServer, clock: FakeClock, **options: Any) -> FirebaseCallerVerifier:
    keys = RemoteKeys.of_firebase(google.exchanges, clock)
    return FirebaseCallerVerifier(project=PROJECT, keys=keys, clock=clock, **options)


class TestFirebaseCallerVerifier(SignedTokenContract):
    @pytest.fixture
    def verifier(self, google: KeyServer, clock: FakeClock) -> CallerVerifier:
        return firebase_verifier(google, clock)

    def make_token(self, uid: Any, *, anonymous: bool = False, **claims: Any) -> str:
        return sign(id_claims(uid, anonymous=anonymous, **claims))

    async def test_fifty_callers_at_once_fetch_the_keys_once(
        self, verifier: CallerVerifier, google: KeyServer
    ) -> None:
        tokens = [self.make_token(f"user-{number}") for number in range(50)]

        callers = await asyncio.gather(*(verifier.verify(Credentials(bearer=token)) for token in tokens))

        assert [caller.uid for caller in callers] == [f"user-{number}" for number in range(50)]
        assert google.asked == 1


class TestFirebaseCallerVerifierWithoutMemory(TestFirebaseCallerVerifier):
    """The memory of good tokens makes calls cheaper and changes nothing else."""

    @pytest.fixture
    def verifier(self, google: KeyServer, clock: FakeClock) -> CallerVerifier:
        return firebase_verifier(google, clock, verdicts_max=0)


class _WithAppCheckToken:
    """Adds a good App Check token to whatever a test sends."""

    def __init__(self, inner: CallerVerifier) -> None:
        self._inner = inner

    async def verify(self, credentials: Credentials) -> Any:
        token = sign({**app_claims(), "exp": app_claims()["exp"] + 86_400}, kid="app-key")
        return await self._inner.verify(Credentials(bearer=credentials.bearer, app_check=token))


class TestAppCheckVerifier(TestFirebaseCallerVerifier):
    """It refuses whatever the verifier inside refuses."""

    @pytest.fixture
    def verifier(self, google: KeyServer, clock: FakeClock) -> CallerVerifier:
        keys = RemoteKeys.of_app_check(KeyServer(key_set("app-key")).exchanges, clock)
        inner = firebase_verifier(google, clock)
        return _WithAppCheckToken(
            AppCheckVerifier(inner, project_number=PROJECT_NUMBER, keys=keys, clock=clock, required=True)
        )


class TestEmulatorCallerVerifier(WebTokenContract):
    @pytest.fixture
    def verifier(self, clock: FakeClock) -> CallerVerifier:
        return EmulatorCallerVerifier(project=PROJECT, clock=clock, deployed=False)

    def make_token(self, uid: Any, *, anonymous: bool = False, **claims: Any) -> str:
        return forge({"alg": "none", "typ": "JWT"}, id_claims(uid, anonymous=anonymous, **claims))

    async def test_a_signed_token_is_refused(self, verifier: CallerVerifier) -> None:
        """Its signature cannot be checked here, and believing it unchecked would teach a wrong habit."""
        await self.refused(verifier, sign(id_claims()))


class TestDevSignIn(SignedTokenContract):
    @pytest.fixture
    def verifier(self, clock: FakeClock) -> CallerVerifier:
        return DevSignIn(secret=DEV_SECRET, clock=clock, deployed=False)

    def make_token(self, uid: Any, *, anonymous: bool = False, **claims: Any) -> str:
        own = {"iss": "twohop-dev", "aud": "twohop-dev"}
        return jwt.encode(id_claims(uid, anonymous=anonymous, **{**own, **claims}), DEV_SECRET, algorithm="HS256")

    async def test_what_it_mints_it_believes(self, clock: FakeClock) -> None:
        sign_in = DevSignIn(secret=DEV_SECRET, clock=clock, deployed=False)

        caller = await sign_in.verify(Credentials(bearer=sign_in.mint("carol", anonymous=True)))

        assert (caller.uid, caller.cohort.value) == ("carol", "anonymous")


class TestApiTokenVerifier(CallerVerifierContract):
    @pytest.fixture
    def verifier(self, google: KeyServer, clock: FakeClock) -> CallerVerifier:
        return ApiTokenVerifier(firebase_verifier(google, clock), signer=TOKEN_SIGNER, clock=clock)

    def make_token(self, uid: Any, *, anonymous: bool = False, **claims: Any) -> str:
        expires_at = claims.get("exp", NOON_SECONDS + 600)
        cohort = "anonymous" if anonymous else "verified"
        owner: Any = {} if uid is ... else uid.encode("utf-8", "surrogatepass") if uid == "\ud800" else uid
        return TOKEN_SIGNER.write(
            Grant(owner, cohort, ("models",), expires_at, hashlib.sha256(repr(uid).encode()).digest())
        )

    async def test_nobody_is_asked_about_a_token(self, clock: FakeClock) -> None:
        """Neither about a good one nor about a forged one: a flood of them costs no read and no call."""
        verifier = ApiTokenVerifier(_AskedVerifier(), signer=TOKEN_SIGNER, clock=clock)
        token = self.make_token("alice")

        assert (await verifier.verify(Credentials(bearer=token))).uid == "alice"
        await self.refused(verifier, token[:-1])
        await self.refused(ApiTokenVerifier(_AskedVerifier(), signer=FOREIGN_SIGNER, clock=clock), token)

    async def test_a_token_names_the_document_it_lives_by_and_the_models_it_opens(self, clock: FakeClock) -> None:
        verifier = ApiTokenVerifier(_AskedVerifier(), signer=TOKEN_SIGNER, clock=clock)
        grant = Grant("alice", "verified", ("usage", "model:Small-1"), NOON_SECONDS + 600, b"s" * 16)

        caller = await verifier.verify(Credentials(bearer=TOKEN_SIGNER.write(grant)))

        assert (caller.token_id, caller.models) == (grant.token_id, ("small-1",))

    async def test_an_id_token_is_for_the_sign_in_to_judge(self, verifier: CallerVerifier) -> None:
        """It opens every model, and lives by no document."""
        caller = await verifier.verify(Credentials(bearer=sign(id_claims("alice"))))

        assert (caller.uid, caller.token_id, caller.models) == ("alice", None, ("*",))


class _AskedVerifier:
    """Must not be asked."""

    async def verify(self, credentials: Credentials) -> Any:
        raise AssertionError("an API token was shown to the sign-in")
