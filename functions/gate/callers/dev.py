"""The sign-in of dev mode: tokens that this machine makes and believes. It cannot exist in a deployed instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt

from gate.callers.claims import VerifiedClaims, check_claims, session_of
from gate.callers.local_tokens import read_hs256
from gate.callers.tokens import presented
from gate.errors import SettingsError
from gate.ports import Caller, Clock, Credentials

ISSUER = "twohop-dev"
_SECRET_BYTES_MIN = 32


class DevSignIn:
    """Mints tokens for anybody, and a `CallerVerifier` of them.

    Raises:
        SettingsError: this is a deployed instance, or the secret is too short to be one.
    """

    def __init__(self, *, secret: str, clock: Clock, deployed: bool) -> None:
        if deployed:
            raise SettingsError("SIGN_IN=dev is set in a deployed instance; take it out")
        self._secret = secret.encode()
        if len(self._secret) < _SECRET_BYTES_MIN:
            raise SettingsError(f"DEV_SIGN_IN_SECRET needs {_SECRET_BYTES_MIN} bytes or more; `make dev` makes one")
        self._clock = clock

    def mint(self, uid: str, *, anonymous: bool = False, lifetime_seconds: int = 3600) -> str:
        """Return a token that makes its bearer this caller.

        Raises:
            UnauthenticatedError: this uid could never be a caller.
        """
        now = int(self._clock.now().timestamp())
        claims = {
            "iss": ISSUER,
            "aud": ISSUER,
            "sub": uid,
            "user_id": uid,  # where Firebase's own SDKs look for it
            "iat": now,
            "auth_time": now,
            "exp": now + lifetime_seconds,
            "firebase": {"sign_in_provider": "anonymous" if anonymous else "custom"},
        }
        session_of(self._checked(claims))
        return jwt.encode(claims, self._secret, algorithm="HS256")

    async def verify(self, credentials: Credentials) -> Caller:
        """See `CallerVerifier.verify`."""
        return session_of(self._checked(read_hs256(presented(credentials.bearer), self._secret))).caller

    def _checked(self, claims: Mapping[str, Any]) -> VerifiedClaims:
        return check_claims(claims, issuer=ISSUER, audience=ISSUER, now=self._clock.now(), leeway_seconds=0)
