"""API tokens from their making to their end, for the people who own them.

    create ─► tokens/{id} ─┬─► delete               gone, and refused from then on
                           └─► revoke               moved to revoked_tokens/{id}, and refused from then on

A token works as long as `tokens/{id}` is there: every commit that admits a job demands it. So none of this needs a
flag that somebody could forget to read, and no instance can be late to learn of a revocation.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

import msgspec

from gate.document_store import DocumentStore
from gate.domain.api_token import SECRET_BYTES, Grant, TokenSigner
from gate.domain.meter import token_path
from gate.domain.plan import NO_BUDGET, Budget, Plan
from gate.domain.token_scopes import MODELS, Scopes, models_of
from gate.errors import (
    ForbiddenError,
    InvalidRequestError,
    LedgerError,
    QuotaExceededError,
    SettingsError,
    TokenNotFoundError,
    UnauthenticatedError,
)
from gate.ports import Caller, Clock
from gate.steps.pacing import Pace, paced_as
from gate.steps.policy import Policies

TOKENS = "tokens"
REVOKED = "revoked_tokens"
LIFETIMES_SECONDS = {"hour": 3_600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400, "year": 365 * 86_400}
Lifetime = Literal["hour", "day", "week", "month", "year"]

_KEPT_AFTER_END = timedelta(days=30)
_KEPT_PER_ACTIVE = 10
"""How many tokens that ended may be on a list, for each that the plan allows; who needs more deletes some."""


class TokenState(StrEnum):
    """Where a token stands."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a token, and what its owner is told. The token itself is nowhere in it."""

    token_id: str
    owner: str
    label: str
    scopes: tuple[str, ...]
    budget: Budget = NO_BUDGET
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    def state(self, *, now: datetime) -> TokenState:
        """Return where it stands at a time."""
        if self.revoked_at:
            return TokenState.REVOKED
        return TokenState.EXPIRED if now >= self.expires_at else TokenState.ACTIVE


class Tokens:
    """Makes, lists, revokes and deletes tokens."""

    def __init__(
        self,
        *,
        policies: Policies,
        documents: DocumentStore,
        signer: TokenSigner,
        clock: Clock,
        pace: Pace | None = None,
    ) -> None:
        self._policies = policies
        self._pace = pace or Pace(clock=clock)
        self._documents = documents
        self._signer = signer
        self._clock = clock

    async def create(
        self,
        caller: Caller,
        *,
        label: str,
        lifetime: Lifetime | int,
        scopes: Scopes = (MODELS,),
        budget: Budget = NO_BUDGET,
    ) -> tuple[str, Token]:
        """Make a token. The text that is returned exists nowhere else and cannot be had again.

        Args:
            caller: whom it stands for.
            label: the owner's own word for it.
            lifetime: how long it works: a word, or seconds.
            scopes: what it may be used for.
            budget: what may be spent by it, within what the plan allows.

        Raises:
            ForbiddenError: the caller's plan allows none, or they came with a token.
            InvalidRequestError: it would live longer, or open other models, than the plan allows.
            QuotaExceededError: the caller has as many as the plan allows.
        """
        _check_signed_in(caller)
        plan = (await self._policies.for_caller(caller)).plan
        seconds = _checked_lifetime(lifetime, plan)
        _check_models(scopes, plan)
        self._check_switched_on()
        await self._check_room(caller, plan, more=1)
        grant, token = self._made(caller, label, seconds, scopes, budget)
        # An id of 128 random bits that is there already is our own, of a try whose answer was lost.
        await self._documents.create(token_path(token.token_id), _document(token))
        try:
            # Of many that are made at once, each sees all that came before it: never are there too many.
            await self._check_room(caller, plan, more=0)
        except (QuotaExceededError, LedgerError):
            await self._documents.delete(token_path(token.token_id))
            raise
        return self._signer.write(grant), token

    async def of_caller(self, caller: Caller) -> list[Token]:
        """Return a caller's tokens, newest first: those that work, and for 30 days those that no longer do.

        Raises:
            ForbiddenError: they came with a token.
        """
        _check_signed_in(caller)
        return await self._all_of(caller)

    async def revoke(self, caller: Caller, token_id: str) -> Token:
        """End a token, and keep it on the list for 30 days. It is refused from the next call on, everywhere.

        Revoking one that was revoked changes nothing.

        Raises:
            ForbiddenError: the caller came with a token.
            TokenNotFoundError: they have no such token.
        """
        _check_signed_in(caller)
        return await self.end(await self._own(caller, token_id))

    async def delete(self, caller: Caller, token_id: str) -> None:
        """End a token if it has not ended, and forget it.

        Raises:
            ForbiddenError: the caller came with a token.
            TokenNotFoundError: they have no such token.
        """
        _check_signed_in(caller)
        await self.forget(await self._own(caller, token_id))

    async def of_owner(self, uid: str) -> list[Token]:
        """Return all that is kept of an owner's tokens, newest first."""
        found = [
            _token(name, document)
            for collection in (REVOKED, TOKENS)
            for name, document in (await self._documents.find(collection, "owner", uid)).items()
        ]
        # One whose revocation was cut off halfway is in both, and still works.
        unique = {token.token_id: token for token in found}
        return sorted(unique.values(), key=lambda token: token.created_at, reverse=True)

    async def kept(self, token_id: str) -> Token | None:
        """Return what is kept of a token, whoever owns it."""
        for collection in (TOKENS, REVOKED):
            document = await self._documents.read(f"{collection}/{token_id}")
            if document is not None:
                return _token(token_id, document)
        return None

    async def end(self, token: Token) -> Token:
        """Revoke a token, whoever owns it."""
        if token.revoked_at:
            return token
        revoked = msgspec.structs.replace(token, revoked_at=self._clock.now())
        await self._documents.create(_revoked_path(token.token_id), _document(revoked))
        await self._documents.delete(token_path(token.token_id))
        return revoked

    async def forget(self, token: Token) -> None:
        """Delete a token, whoever owns it. Its ability to work goes first."""
        await self._documents.delete(token_path(token.token_id))
        await self._documents.delete(_revoked_path(token.token_id))

    async def use(self, caller: Caller) -> None:
        """Note that a caller's token was used for something that is not admitted, and so is not noted there.

        Raises:
            UnauthenticatedError: it was revoked or deleted. A caller without a token is fine.
        """
        if caller.token_id is None:
            return
        if not await self._documents.update(token_path(caller.token_id), {"last_used_at": self._clock.now()}):
            raise UnauthenticatedError(f"the API token {caller.token_id} was revoked")

    async def _own(self, caller: Caller, token_id: str) -> Token:
        token = await self.kept(token_id)
        if token is None or token.owner != caller.uid:
            raise TokenNotFoundError(f"{caller.uid} has no token {token_id}")
        return token

    async def _all_of(self, caller: Caller) -> list[Token]:
        kept = await self.of_owner(caller.uid)
        self._pace.count(paced_as(caller), len(kept))
        return kept

    async def _check_room(self, caller: Caller, plan: Plan, *, more: int) -> None:
        now, kept = self._clock.now(), await self._all_of(caller)
        active = sum(token.state(now=now) is TokenState.ACTIVE for token in kept)
        if active + more > plan.tokens_max or len(kept) + more > plan.tokens_max * _KEPT_PER_ACTIVE:
            raise QuotaExceededError(
                f"{caller.uid} has {active} tokens that work, and {len(kept)} in all",
                public_message=f"Limit: {plan.tokens_max} API tokens. Delete those that you no longer need.",
                details={"limit": "tokens_max", "limit_value": plan.tokens_max},
            )

    def _check_switched_on(self) -> None:
        if not self._signer.can_sign:
            raise SettingsError(
                "TOKEN_SECRET is not set: `firebase functions:secrets:set TOKEN_SECRET`",
                public_message="This service has no API tokens: its owner has not switched them on.",
            )

    def _made(self, caller: Caller, label: str, seconds: int, scopes: Scopes, budget: Budget) -> tuple[Grant, Token]:
        now = self._clock.now()
        grant = Grant(
            owner=caller.uid,
            cohort=caller.cohort.value,
            scopes=scopes,
            expires_at=int(now.timestamp()) + seconds,
            secret=secrets.token_bytes(SECRET_BYTES),
            amounts=() if budget == NO_BUDGET else msgspec.structs.astuple(budget),
        )
        token = Token(
            token_id=grant.token_id,
            owner=caller.uid,
            label=label,
            scopes=scopes,
            budget=budget,
            created_at=now,
            expires_at=datetime.fromtimestamp(grant.expires_at, UTC),
        )
        return grant, token


def _check_signed_in(caller: Caller) -> None:
    """A token that leaked must not be able to make itself live for ever."""
    if caller.token_id is not None:
        raise ForbiddenError(
            f"the API token {caller.token_id} asked for tokens",
            public_message="An API token cannot make or change API tokens. Sign in to do that.",
        )


def _checked_lifetime(lifetime: Lifetime | int, plan: Plan) -> int:
    if not plan.tokens_max or not plan.token_seconds_max:
        raise ForbiddenError("the plan has no tokens", public_message="Your plan has no API tokens.")
    seconds = lifetime if isinstance(lifetime, int) else LIFETIMES_SECONDS[lifetime]
    if not 0 < seconds <= plan.token_seconds_max:
        raise InvalidRequestError(
            f"lifetime is {seconds} seconds, and your plan allows from 1 to {plan.token_seconds_max}",
            details={"limit": "token_seconds_max", "limit_value": plan.token_seconds_max, "sent": seconds},
        )
    return seconds


def _check_models(scopes: Scopes, plan: Plan) -> None:
    allowed = {model.lower() for model in plan.models}
    missing = [model for model in models_of(scopes) if model != "*" and not {model, "*"} & allowed]
    if missing:
        raise InvalidRequestError(f"scopes name the model {missing[0]!r}, which your plan does not have")


def _revoked_path(token_id: str) -> str:
    return f"{REVOKED}/{token_id}"


def _document(token: Token) -> dict[str, Any]:
    """Return a token's document. Firestore deletes it some time after its `ttl`."""
    fields = msgspec.to_builtins(token, builtin_types=(datetime,))
    ttl = (token.revoked_at or token.expires_at) + _KEPT_AFTER_END
    return {name: value for name, value in {**fields, "ttl": ttl}.items() if value is not None}


def _token(token_id: str, document: Mapping[str, Any]) -> Token:
    try:
        return msgspec.convert({**document, "token_id": token_id}, Token)
    except msgspec.ValidationError as exc:
        raise LedgerError(f"{token_path(token_id)} is malformed: {exc}") from exc
