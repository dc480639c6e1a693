"""API tokens as credentials. Reading one costs no call to anybody."""

from __future__ import annotations

from gate.callers.claims import checked_uid
from gate.callers.tokens import presented
from gate.domain.api_token import PREFIX, Grant, TokenSigner
from gate.domain.plan import Cohort
from gate.domain.token_scopes import models_of
from gate.errors import UnauthenticatedError
from gate.ports import Caller, CallerVerifier, Clock, Credentials, ReadsAhead
from gate.steps.pacing import Pace, paced_as
from gate.tokens import Tokens


class ApiTokenVerifier:
    """A `CallerVerifier` that reads API tokens itself, and asks another one about everything else.

    It stands outside of App Check: code that has an API token is no app of the owner's, and has no app's proof. That
    the token was not revoked is for whoever acts on it to find out, in the commit that it makes anyway.
    """

    def __init__(self, inner: CallerVerifier, *, signer: TokenSigner, clock: Clock) -> None:
        self._inner = inner
        self._signer = signer
        self._clock = clock

    async def read_ahead(self, credentials: Credentials) -> Caller:
        """See `ReadsAhead.read_ahead`."""
        if _is_api_token(credentials) or not isinstance(self._inner, ReadsAhead):
            return await self.verify(credentials)
        return await self._inner.read_ahead(credentials)

    async def verify(self, credentials: Credentials) -> Caller:
        """See `CallerVerifier.verify`."""
        if not _is_api_token(credentials):
            return await self._inner.verify(credentials)
        grant = self._signer.read(presented(credentials.bearer), now=self._clock.now())
        return Caller(
            uid=checked_uid(grant.owner),
            cohort=_cohort(grant),
            token_id=grant.token_id,
            token_budget=grant.budget,
            models=models_of(grant.scopes),
        )


class LiveTokenVerifier:
    """A `CallerVerifier` for doors that hold no job: it bounds them, finds out that a token lives, and notes its use.

    Doors that hold one are spared this, because the commit of the hold does all three.
    """

    def __init__(self, inner: CallerVerifier, *, tokens: Tokens, pace: Pace) -> None:
        self._inner = inner
        self._tokens = tokens
        self._pace = pace

    async def verify(self, credentials: Credentials) -> Caller:
        """See `CallerVerifier.verify`."""
        caller = await self._inner.verify(credentials)
        self._pace.check(paced_as(caller))
        self._pace.count(paced_as(caller))
        await self._tokens.use(caller)
        return caller


def _is_api_token(credentials: Credentials) -> bool:
    return (credentials.bearer or "").startswith(PREFIX)


def _cohort(grant: Grant) -> Cohort:
    try:
        return Cohort(grant.cohort)
    except ValueError as exc:
        raise UnauthenticatedError(f"the API token {grant.token_id} is of no known cohort") from exc
