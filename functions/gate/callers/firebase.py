"""Firebase ID tokens, checked in this process with Google's public keys."""

from __future__ import annotations

from gate.callers.accounts import Account, AccountLookup
from gate.callers.claims import Session, check_claims, session_of
from gate.callers.keys import KeySource
from gate.callers.tokens import presented, read_rs256
from gate.callers.verdicts import Verdicts
from gate.errors import UnauthenticatedError
from gate.ports import Caller, Clock, Credentials

ISSUER = "https://securetoken.google.com"


class FirebaseCallerVerifier:
    """A `CallerVerifier` for the users of one Firebase project.

    Args:
        project: the project's id; tokens of any other are refused.
        keys: Google's public keys.
        clock: says what has expired.
        leeway_seconds: how far behind Google's clock this one may be.
        lookup: asks at every call whether the account still stands. Without it, a session that was revoked or an
            account that was disabled works on until its token expires, which is an hour at most.
        verdicts_max: how many verified tokens are remembered.
    """

    def __init__(
        self,
        *,
        project: str,
        keys: KeySource,
        clock: Clock,
        leeway_seconds: int = 5,
        lookup: AccountLookup | None = None,
        verdicts_max: int = 4096,
    ) -> None:
        self._project = project
        self._keys = keys
        self._clock = clock
        self._leeway_seconds = leeway_seconds
        self._lookup = lookup
        self._verdicts = Verdicts(entries_max=verdicts_max, clock=clock)

    async def read_ahead(self, credentials: Credentials) -> Caller:
        """See `ReadsAhead.read_ahead`."""
        return (await self._session(presented(credentials.bearer))).caller

    async def verify(self, credentials: Credentials) -> Caller:
        """See `CallerVerifier.verify`."""
        token = presented(credentials.bearer)
        session = self._verdicts.get(token) or await self._session(token)
        if self._lookup:
            _check_account(await self._lookup(session.caller.uid), session)
        return session.caller

    async def _session(self, token: str) -> Session:
        """Return what a token proves, and remember it."""
        claims = await read_rs256(token, self._keys)
        session = session_of(
            check_claims(
                claims,
                issuer=f"{ISSUER}/{self._project}",
                audience=self._project,
                now=self._clock.now(),
                leeway_seconds=self._leeway_seconds,
            )
        )
        self._verdicts.put(token, session)
        return session


def _check_account(account: Account | None, session: Session) -> None:
    if account is None:
        raise UnauthenticatedError("the account was deleted")
    if account.disabled:
        raise UnauthenticatedError("the account is disabled")
    if session.signed_in_at * 1000 < account.tokens_valid_after_ms:
        raise UnauthenticatedError("the session was revoked")
