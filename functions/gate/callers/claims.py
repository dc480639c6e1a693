"""What a sign-in token must claim before it names a caller: one set of rules for every sign-in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NewType

import msgspec

from gate.domain.plan import Cohort
from gate.errors import UnauthenticatedError
from gate.ports import Caller

VerifiedClaims = NewType("VerifiedClaims", Mapping[str, Any])
"""Claims of a token whose signature, times and addressees were checked."""

UID_CHARS_MAX = 128
_RESERVED = re.compile(r"^(\.{1,2}|__.*__)$")
"""Names that Firestore does not give to documents."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that holds until it expires."""

    caller: Caller
    signed_in_at: int
    """Seconds since 1970 UTC: when the caller last showed a password, a phone or another account."""
    expires_at: int


def check_claims(
    claims: Mapping[str, Any], *, issuer: str, audience: str, now: datetime, leeway_seconds: int
) -> VerifiedClaims:
    """Check who made a token, for whom, and when. Its signature is the business of whoever calls this.

    The leeway forgives a clock that is behind the issuer's. It does not make a token live longer.

    Raises:
        UnauthenticatedError: a claim is missing or wrong.
    """
    if claims.get("iss") != issuer:
        raise UnauthenticatedError("the token has another issuer")
    if claims.get("aud") != audience:
        raise UnauthenticatedError("the token is for another project")
    check_expiry(claims, now=now)
    for name in ("iat", "auth_time"):
        if _seconds(claims, name) > now.timestamp() + leeway_seconds:
            raise UnauthenticatedError(f"the token's {name} is in the future; is this machine's clock right?")
    return VerifiedClaims(claims)


def check_expiry(claims: Mapping[str, Any], *, now: datetime) -> None:
    """Check that a token's time has not passed.

    Raises:
        UnauthenticatedError: it has, or the token does not say.
    """
    if now.timestamp() >= _seconds(claims, "exp"):
        raise UnauthenticatedError("the token has expired")


def session_of(claims: VerifiedClaims) -> Session:
    """Read a session out of checked claims.

    Raises:
        UnauthenticatedError: the claims name nobody, or nobody whose documents could be named.
    """
    caller = Caller(uid=checked_uid(claims.get("sub")), cohort=_cohort(claims.get("firebase")))
    return Session(caller=caller, signed_in_at=_seconds(claims, "auth_time"), expires_at=_seconds(claims, "exp"))


def checked_uid(subject: object) -> str:
    """Return a subject that can name a document. Unprintable ones cannot: a lone surrogate is no UTF-8.

    Raises:
        UnauthenticatedError: it cannot.
    """
    if not isinstance(subject, str) or not 0 < len(subject) <= UID_CHARS_MAX:
        raise UnauthenticatedError("the token's subject is missing, empty or too long")
    if "/" in subject or not subject.isprintable() or _RESERVED.match(subject):
        raise UnauthenticatedError("the token's subject cannot name a document")
    return subject


def _cohort(firebase: object) -> Cohort:
    provider = firebase.get("sign_in_provider") if isinstance(firebase, dict) else None
    if not isinstance(provider, str) or not provider:
        raise UnauthenticatedError("the token does not say how its caller signed in")
    return Cohort.ANONYMOUS if provider == "anonymous" else Cohort.VERIFIED


def _seconds(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    # A bool is an int to Python, and NaN would pass any comparison that it is on the right side of.
    if type(value) is not int:
        raise UnauthenticatedError(f"the token has no {name}")
    return value
