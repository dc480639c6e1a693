"""The callable `tokens`: what users do with their API tokens, one action a call."""

from __future__ import annotations

from typing import Annotated, Any, assert_never

import msgspec
from msgspec import Meta

from gate.domain.plan import NO_BUDGET, TOKEN_SECONDS_MOST, Budget
from gate.domain.token_scopes import MODELS, Scopes
from gate.endpoints.callable import Call
from gate.ports import Clock
from gate.tokens import Lifetime, Token, Tokens

TokenId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]


class _Action(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="action"):
    """What is to be done."""


class CreateToken(_Action, frozen=True, kw_only=True, tag="create"):
    """Make a token. The answer is the only one that will ever hold it."""

    label: Annotated[str, Meta(min_length=1, max_length=100)]
    """The owner's own word for it."""
    lifetime: Lifetime | Annotated[int, Meta(ge=1, le=TOKEN_SECONDS_MOST)]
    """A word, or seconds."""
    scopes: Scopes = (MODELS,)
    """`models`, `model:NAME` for some of them, or `usage` alone for a token that may only read what is used."""
    budget: Budget = NO_BUDGET
    """What may be spent by it, within what the owner's plan allows."""


class ListTokens(_Action, frozen=True, kw_only=True, tag="list"):
    """List the caller's tokens, newest first."""


class RevokeToken(_Action, frozen=True, kw_only=True, tag="revoke"):
    """End a token, and keep it on the list for 30 days."""

    token_id: TokenId


class DeleteToken(_Action, frozen=True, kw_only=True, tag="delete"):
    """End a token, and take it off the list."""

    token_id: TokenId


TokensRequest = CreateToken | ListTokens | RevokeToken | DeleteToken


class TokensEndpoint:
    """Does what a request says."""

    def __init__(self, tokens: Tokens, *, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock

    async def __call__(self, call: Call[TokensRequest]) -> dict[str, Any]:
        """Answer one call."""
        asked = call.payload
        match asked:
            case CreateToken():
                text, token = await self._tokens.create(
                    call.caller, label=asked.label, lifetime=asked.lifetime, scopes=asked.scopes, budget=asked.budget
                )
                return {"token": text, **self._json(token)}
            case ListTokens():
                return {"tokens": [self._json(token) for token in await self._tokens.of_caller(call.caller)]}
            case RevokeToken():
                return self._json(await self._tokens.revoke(call.caller, asked.token_id))
            case DeleteToken():
                await self._tokens.delete(call.caller, asked.token_id)
                return {"token_id": asked.token_id}
            case _:
                assert_never(asked)

    def _json(self, token: Token) -> dict[str, Any]:
        return token_json(token, state=token.state(now=self._clock.now()).value)


def token_json(token: Token, *, state: str) -> dict[str, Any]:
    """Return what an owner is told of a token."""
    fields: dict[str, Any] = msgspec.to_builtins(token)
    del fields["owner"]
    return {**fields, "state": state}
