"""JSON Web Tokens, read so that no token can choose how it is checked.

The algorithm is the reader's, never the header's. Times and addressees are left to `claims`, which takes the time
from a clock that tests can set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jwt
from jwt.algorithms import RSAAlgorithm
from jwt.utils import base64url_decode

from gate.callers.keys import KeySource
from gate.errors import UnauthenticatedError

if TYPE_CHECKING:
    from jwt.types import Options

TOKEN_CHARS_MAX = 8_192
"""Firebase's are about a thousand. What is longer is not worth the parsing."""

_SHAPE = re.compile(r"(([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+))\.([A-Za-z0-9_-]+)")
"""What is signed, of which the head and the claims, and the signature."""
_RS256 = RSAAlgorithm(RSAAlgorithm.SHA256)

_SIGNATURE_ALONE: Options = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
_UNREADABLE = (jwt.InvalidTokenError, ValueError, TypeError, RecursionError)
"""What reading a stranger's token may raise; a header of a thousand brackets is a RecursionError."""


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

    PyJWT's own way in reads a token twice: once for the key's id, and again with the key. A flood of bad tokens is
    refused in half the time if its parts are read once, and nothing but the head before the signature holds.

    Raises:
        UnauthenticatedError: it is signed by nobody we trust, in another way, or not at all.
        LedgerError: the keys cannot be had.
    """
    parts = _SHAPE.fullmatch(token)
    head = _object(parts[2]) if parts else {}
    kid = head.get("kid")
    if parts is None or head.get("alg") != "RS256" or not isinstance(kid, str) or not kid:
        raise UnauthenticatedError("the token is unreadable, or its header names another algorithm, or no key")
    if "crit" in head or head.get("b64", True) is not True:
        raise UnauthenticatedError("the token's header asks for what is not done here")
    key = await keys.key(kid)
    if not _RS256.verify(parts[1].encode(), key, base64url_decode(parts[4])):
        raise UnauthenticatedError("the token's signature does not hold")
    return _object(parts[3])


def read_hs256(token: str, secret: bytes) -> dict[str, Any]:
    """Return the claims of a token that was signed with this secret.

    Raises:
        UnauthenticatedError: it was not.
    """
    return _decoded(token, secret, "HS256")


def read_unsigned(token: str) -> dict[str, Any]:
    """Return the claims of a token that nobody signed. Only an emulator's tokens are read so.

    Raises:
        UnauthenticatedError: it is unreadable, or signed, which could not be checked here.
    """
    if header(token).get("alg") != "none" or not token.endswith("."):
        raise UnauthenticatedError("the token is signed, and an emulator signs nothing")
    try:
        return jwt.decode(token, options={"verify_signature": False})
    except _UNREADABLE as exc:
        raise UnauthenticatedError(f"the token is unreadable: {type(exc).__name__}") from exc


def header(token: str) -> Mapping[str, Any]:
    """Return a token's header, which anybody may have written.

    Raises:
        UnauthenticatedError: it has none.
    """
    try:
        return jwt.get_unverified_header(token)
    except _UNREADABLE as exc:
        raise UnauthenticatedError(f"the token's header is unreadable: {type(exc).__name__}") from exc


def _object(part: str) -> dict[str, Any]:
    """Return the JSON object that a part of a token holds."""
    try:
        found = json.loads(base64url_decode(part))
    except _UNREADABLE as exc:
        raise UnauthenticatedError(f"the token is unreadable: {type(exc).__name__}") from exc
    if not isinstance(found, dict):
        raise UnauthenticatedError("the token holds no object")
    return found


def _decoded(token: str, key: Any, algorithm: str) -> dict[str, Any]:
    try:
        return jwt.decode(token, key, algorithms=[algorithm], options=_SIGNATURE_ALONE)
    except _UNREADABLE as exc:
        raise UnauthenticatedError(f"the token does not hold: {type(exc).__name__}") from exc
