"""Every `CallerVerifier` keeps the promises of all of them."""

from __future__ import annotations

import asyncio
from typing import Any

import jwt
import pytest

from gate.callers.app_check import AppCheckVerifier
from gate.callers.dev import DevSignIn
from gate.callers.emulator import EmulatorCallerVerifier
from gate.callers.firebase import FirebaseCallerVerifier
from gate.callers.keys import RemoteKeys
from gate.ports import CallerVerifier, Credentials
from tests.callers.google import (
    KID,
    PROJECT,
    PROJECT_NUMBER,
    KeyServer,
    app_claims,
    certificates,
    forge,
    id_claims,
    key_set,
    sign,
)
from tests.contract.caller_contract import CallerVerifierContract, SignedTokenContract
from tests.makers import FakeClock

DEV_SECRET = "a secret of dev mode, long enough to be one"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def google() -> KeyServer:
    return KeyServer(certificates(KID, "key-2"))


def firebase_verifier(google: KeyServer, clock: FakeClock, **options: Any) -> FirebaseCallerVerifier:
    keys = RemoteKeys.of_firebase(google.client, clock)
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
        keys = RemoteKeys.of_app_check(KeyServer(key_set("app-key")).client, clock)
        inner = firebase_verifier(google, clock)
        return _WithAppCheckToken(
            AppCheckVerifier(inner, project_number=PROJECT_NUMBER, keys=keys, clock=clock, required=True)
        )


class TestEmulatorCallerVerifier(CallerVerifierContract):
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
