"""JSON Web Tokens, read so that no token can choose how it is checked.

The algorithm is the reader's, never the header's. Times and addressees are left to `claims`, which takes the time
from a clock that tests can set.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from gate.callers.base64url import read_base64url
from gate.callers.keys import KeySource
from gate.errors import UnauthenticatedError

TOKEN_CHARS_MAX = 8_192
"""Firebase's are about a thousand. What is longer is not worth the parsing."""

_decoder = msgspec.json.Decoder(dict[str, Any])
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What reading a stranger's JSON may raise; a header of a thousand brackets is a RecursionError."""


def presented(token: str | None) -> str:
    """Return a token that is worth reading.

    Raises:
        UnauthenticatedError: there is none, or it cannot be one.
    """
    if not token:
        raise UnauthenticatedError("no token")
    if len(token) > TOKEN_CHARS_MAX or not token.isascii():
        raise UnauthenticatedError("the token is too long, or no token at all")
    return token


async def read_rs256(token: str, keys: KeySource) -> dict[str, Any]:
    """Return the claims of a token that one of these keys signed.

    PyJWT reads a token twice, once for the key's id, and again with the key, and takes 15 ms of a cold start to
    import. Here a token's parts are read once, and nothing but the head before the signature holds (ADR 0008).

    Raises:
        UnauthenticatedError: it is signed by nobody we trust, in another way, or not at all.
        LedgerError: the keys cannot be had.
    """
    signed, _, signature = token.rpartition(".")
    head, _, claims = signed.partition(".")
    key = await keys.key(_key_id(head))
    try:
        holds = key.signed(signed.encode(), read_base64url(signature))
    except ValueError as exc:
        raise UnauthenticatedError("the token's signature is unreadable") from exc
    if not holds:
        raise UnauthenticatedError("the token's signature does not hold")
    return _object(claims)


@lru_cache(maxsize=16)
def _key_id(head: str) -> str:
    """Return which key a token is said to be signed with. All tokens of a key have the same head."""
    fields = _object(head)
    kid = fields.get("kid")
    if fields.get("alg") != "RS256" or not isinstance(kid, str) or not kid:
        raise UnauthenticatedError("the token's header names another algorithm, or no key")
    if "crit" in fields or fields.get("b64", True) is not True:
        raise UnauthenticatedError("the token's header asks for what is not done here")
    return kid


def _object(part: str) -> dict[str, Any]:
    """Return the JSON object that a part of a token holds."""
    try:
        return _decoder.decode(read_base64url(part))
    except _UNREADABLE as exc:
        raise UnauthenticatedError(f"the token is unreadable: {type(exc).__name__}") from exc
