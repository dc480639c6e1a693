"""App Check: the request comes from the owner's own app, on top of who is asking."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gate.callers.claims import check_expiry
from gate.callers.keys import KeySource
from gate.callers.tokens import presented, read_rs256
from gate.errors import SettingsError, UnauthenticatedError
from gate.ports import Caller, CallerVerifier, Clock, Credentials, ReadsAhead

ISSUER = "https://firebaseappcheck.googleapis.com"

Consume = Callable[[str], Awaitable[bool]]
"""Uses an App Check token up. Returns whether it was used before. Raises LedgerError if it cannot be told."""


class AppCheckVerifier:
    """A `CallerVerifier` that asks another one, and lets through only requests of the owner's app.

    Args:
        inner: says who is asking.
        project_number: of the project whose apps are let through.
        keys: App Check's public keys.
        clock: says what has expired.
        required: refuse a request without a token. Otherwise none is fine, and one that is there must hold.
        consume: let each token be used once. It is asked last, so that no stranger can use up a caller's token
            or make us call Google.
    """

    def __init__(
        self,
        inner: CallerVerifier,
        *,
        project_number: str,
        keys: KeySource,
        clock: Clock,
        required: bool,
        consume: Consume | None = None,
    ) -> None:
        if not project_number.isdecimal():
            raise SettingsError("PROJECT_NUMBER is not a number; it stands in the Firebase console's settings")
        self._inner = inner
        self._project_number = project_number
        self._keys = keys
        self._clock = clock
        self._required = required
        self._consume = consume

    async def read_ahead(self, credentials: Credentials) -> Caller:
        """See `ReadsAhead.read_ahead`."""
        self._keys.read_ahead()
        if isinstance(self._inner, ReadsAhead):
            return await self._inner.read_ahead(credentials)
        return await self._inner.verify(credentials)

    async def verify(self, credentials: Credentials) -> Caller:
        """See `CallerVerifier.verify`."""
        token = credentials.app_check
        if token is None and not self._required:
            return await self._inner.verify(credentials)
        token = presented(token)
        await self._check(token)
        caller = await self._inner.verify(credentials)
        if self._consume and await self._consume(token):
            raise UnauthenticatedError("the App Check token was used before")
        return caller

    async def _check(self, token: str) -> None:
        claims = await read_rs256(token, self._keys)
        audience = claims.get("aud")
        if claims.get("iss") != f"{ISSUER}/{self._project_number}":
            raise UnauthenticatedError("the App Check token has another issuer")
        if not isinstance(audience, list) or f"projects/{self._project_number}" not in audience:
            raise UnauthenticatedError("the App Check token is for another project")
        if not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise UnauthenticatedError("the App Check token names no app")
        check_expiry(claims, now=self._clock.now())
