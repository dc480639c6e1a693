"""Tokens of one machine: signed with a secret in dev mode, or by nobody, as the Firebase Auth emulator's are.

A deployed instance reads neither, so it never imports PyJWT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt

from gate.errors import UnauthenticatedError

if TYPE_CHECKING:
    from jwt.types import Options

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


def read_hs256(token: str, secret: bytes) -> dict[str, Any]:
    """Return the claims of a token that was signed with this secret.

    Raises:
        UnauthenticatedError: it was not.
    """
    try:
        return jwt.decode(token, secret, algorithms=["HS256"], options=_SIGNATURE_ALONE)
    except _UNREADABLE as exc:
        raise UnauthenticatedError(f"the token does not hold: {type(exc).__name__}") from exc


def read_unsigned(token: str) -> dict[str, Any]:
    """Return the claims of a token that nobody signed. Only an emulator's tokens are read so.

    Raises:
        UnauthenticatedError: it is unreadable, or signed, which could not be checked here.
    """
    try:
        is_unsigned = jwt.get_unverified_header(token).get("alg") == "none" and token.endswith(".")
        claims = jwt.decode(token, options={"verify_signature": False})
    except _UNREADABLE as exc:
        raise UnauthenticatedError(f"the token is unreadable: {type(exc).__name__}") from exc
    if not is_unsigned:
        raise UnauthenticatedError("the token is signed, and an emulator signs nothing")
    return claims
