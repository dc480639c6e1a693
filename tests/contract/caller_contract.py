"""What every `CallerVerifier` promises. An implementation inherits the suite and says how its tokens are made."""

from __future__ import annotations

import base64
import hashlib
import hmac
from abc import ABC, abstractmethod
from typing import Any

import jwt
import pytest

from gate.domain.plan import Cohort
from gate.errors import UnauthenticatedError
from gate.ports import CallerVerifier, Credentials
from tests.callers.google import forge, public_pem, sign, tamper
from tests.makers import NOON, FakeClock

NOON_SECONDS = int(NOON.timestamp())

RUBBISH = {
    "empty": "",
    "word": "rubbish",
    "dots": "..",
    "parts": "a.b.c",
    "not-ascii": "ä.ö.ü",
    "surrogate": "\ud800.\ud800.\ud800",
    "long": "a" * 100_000,
    "brackets": forge({}, {}).replace("e30", "W1tbW1tbW1tb" * 500, 1),
    "header-list": "W10.e30.",
    "null-bytes": "\x00.\x00.\x00",
    "jwe": "a.b.c.d.e",
}

SUBJECTS = {
    "empty": "",
    "missing": ...,
    "null": None,
    "number": 7,
    "slash": "users/alice",
    "leading-slash": "/",
    "dot": ".",
    "dots": "..",
    "reserved": "__alice__",
    "too-long": "a" * 129,
    "line-break": "alice\n",
    "surrogate": "\ud800",
}

EXPIRED = {"expired": NOON_SECONDS - 1, "expires-now": NOON_SECONDS}

TIMES = {
    "no-expiry": {"exp": ...},
    "expiry-text": {"exp": str(NOON_SECONDS + 60)},
    "expiry-true": {"exp": True},
    "expiry-infinite": {"exp": float("inf")},
    "expiry-nan": {"exp": float("nan")},
    "issued-later": {"iat": NOON_SECONDS + 60},
    "issued-never": {"iat": ...},
    "issued-nan": {"iat": float("nan")},
    "signed-in-later": {"auth_time": NOON_SECONDS + 60},
    "signed-in-never": {"auth_time": ...},
}

ADDRESSEES = {
    "no-issuer": {"iss": ...},
    "other-issuer": {"iss": "https://securetoken.google.com/other-project"},
    "longer-issuer": {"iss": "https://securetoken.google.com/demo-project/"},
    "no-audience": {"aud": ...},
    "other-audience": {"aud": "other-project"},
    "audience-list": {"aud": ["demo-project", "other-project"]},
    "no-provider": {"firebase": ...},
    "provider-null": {"firebase": {"sign_in_provider": None}},
}


class CallerVerifierContract(ABC):
    """Fixtures give `verifier` and `clock`; `make_token` signs what it is given as the implementation wants it."""

    @abstractmethod
    def make_token(self, uid: Any, *, anonymous: bool = False, **claims: Any) -> str:
        """Return a token that is good but for the claims given; `...` takes one out."""

    async def refused(self, verifier: CallerVerifier, token: str | None) -> None:
        """Assert that a token proves nobody, and that its sender learns no more than that."""
        with pytest.raises(UnauthenticatedError) as caught:
            await verifier.verify(Credentials(bearer=token))
        assert caught.value.public_message == UnauthenticatedError.default_message
        assert caught.value.details == {}
        assert not token or token not in repr(caught.value)

    async def test_a_good_token_names_its_caller(self, verifier: CallerVerifier) -> None:
        caller = await verifier.verify(Credentials(bearer=self.make_token("alice")))

        assert (caller.uid, caller.cohort) == ("alice", Cohort.VERIFIED)

    async def test_an_anonymous_caller_is_of_the_anonymous_cohort(self, verifier: CallerVerifier) -> None:
        """Anybody can make as many anonymous accounts as they like, so they get a plan of their own."""
        caller = await verifier.verify(Credentials(bearer=self.make_token("ghost", anonymous=True)))

        assert (caller.uid, caller.cohort) == ("ghost", Cohort.ANONYMOUS)

    async def test_the_longest_uid_is_taken(self, verifier: CallerVerifier) -> None:
        uid = "ü" * 128

        assert (await verifier.verify(Credentials(bearer=self.make_token(uid)))).uid == uid

    async def test_no_token_is_refused(self, verifier: CallerVerifier) -> None:
        await self.refused(verifier, None)

    @pytest.mark.parametrize("token", RUBBISH.values(), ids=RUBBISH)
    async def test_rubbish_is_refused(self, verifier: CallerVerifier, token: str) -> None:
        """Whatever a stranger sends ends in the same sentence, never in an error of ours."""
        await self.refused(verifier, token)

    @pytest.mark.parametrize("uid", SUBJECTS.values(), ids=SUBJECTS)
    async def test_a_subject_that_cannot_name_a_document_is_refused(self, verifier: CallerVerifier, uid: Any) -> None:
        """A slash in it would make one caller's counters another document's."""
        await self.refused(verifier, self.make_token(uid))

    @pytest.mark.parametrize("seconds", EXPIRED.values(), ids=EXPIRED)
    async def test_a_token_that_has_expired_is_refused(self, verifier: CallerVerifier, seconds: int) -> None:
        await self.refused(verifier, self.make_token("alice", exp=seconds))

    async def test_a_token_that_was_good_is_refused_once_it_has_expired(
        self, verifier: CallerVerifier, clock: FakeClock
    ) -> None:
        """Whatever is remembered of a token must not outlive it."""
        token = self.make_token("alice", exp=NOON_SECONDS + 600)
        await verifier.verify(Credentials(bearer=token))

        clock.advance(seconds=599)
        assert (await verifier.verify(Credentials(bearer=token))).uid == "alice"
        clock.advance(seconds=1)
        await self.refused(verifier, token)

    async def test_two_callers_are_never_mixed_up(self, verifier: CallerVerifier) -> None:
        tokens = {uid: self.make_token(uid) for uid in ("alice", "bob", "alice2")}

        for uid, token in [*tokens.items(), *tokens.items()]:
            assert (await verifier.verify(Credentials(bearer=token))).uid == uid


class WebTokenContract(CallerVerifierContract):
    """What is promised besides by those whose tokens are JSON Web Tokens."""

    @pytest.mark.parametrize("claims", TIMES.values(), ids=TIMES)
    async def test_a_token_out_of_its_time_is_refused(self, verifier: CallerVerifier, claims: dict[str, Any]) -> None:
        await self.refused(verifier, self.make_token("alice", **claims))

    @pytest.mark.parametrize("claims", ADDRESSEES.values(), ids=ADDRESSEES)
    async def test_a_token_of_another_issuer_or_project_is_refused(
        self, verifier: CallerVerifier, claims: dict[str, Any]
    ) -> None:
        await self.refused(verifier, self.make_token("alice", **claims))


class SignedTokenContract(WebTokenContract):
    """What is promised besides by those whose tokens are signed."""

    async def test_a_changed_token_is_refused(self, verifier: CallerVerifier) -> None:
        token = self.make_token("alice")
        await verifier.verify(Credentials(bearer=token))

        await self.refused(verifier, tamper(token, sub="bob"))
        await self.refused(verifier, token[:-8] + "AAAAAAAA")
        await self.refused(verifier, token.rpartition(".")[0] + ".")

    async def test_an_unsigned_token_is_refused(self, verifier: CallerVerifier) -> None:
        """`alg: none` is the oldest trick there is."""
        claims = _claims(self.make_token("alice"))
        for algorithm in ("none", "None", "NONE", ""):
            await self.refused(verifier, forge({"alg": algorithm, "typ": "JWT", "kid": "key-1"}, claims))
            await self.refused(verifier, forge({"alg": algorithm, "typ": "JWT", "kid": "key-1"}, claims, b"x"))

    async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(self, verifier: CallerVerifier) -> None:
        """The public key is no secret: who lets the header choose the algorithm lets everybody in."""
        claims = _claims(self.make_token("alice"))
        unsigned = forge({"alg": "HS256", "typ": "JWT", "kid": "key-1"}, claims).rpartition(".")[0]
        for secret in (public_pem(), public_pem().strip(), b"", b"key-1"):
            signature = hmac.digest(secret, unsigned.encode(), hashlib.sha256)
            await self.refused(verifier, _with_signature(unsigned, signature))

    async def test_a_token_of_another_key_is_refused(self, verifier: CallerVerifier) -> None:
        claims = _claims(self.make_token("alice"))

        await self.refused(verifier, sign(claims, kid="stranger"))
        await self.refused(verifier, sign(claims, kid="stranger", headers={"kid": "key-1"}))


def _claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def _with_signature(unsigned: str, signature: bytes) -> str:
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
