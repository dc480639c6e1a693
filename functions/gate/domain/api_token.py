"""API tokens: what code that is no browser shows instead of a sign-in. Pure: no clock, no I/O.

    th_ 24Qz…   base62 of: 1, the grant, its signature
        3fK9xa  base62 of the CRC-32 of all that is before it

The prefix and the checksum make a leaked token recognisable, by anybody and without asking anybody. The signature
proves that this project made it, so what is forged, expired or of another project is refused with no read at all.
Whether it still lives only the ledger knows: a token lives as long as the document `tokens/{token_id}` does, and its
id is a hash of the random secret in it. See docs/adr/0005-api-tokens.md.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from collections.abc import Sequence
from datetime import datetime

import msgspec

from gate.domain.plan import Budget
from gate.errors import UnauthenticatedError

PREFIX = "th_"
CHARS_MAX = 3_000
"""No token is longer, whatever its owner's uid and its scopes are."""
SECRET_BYTES = 16
SIGNING_BYTES_MIN = 32

_CHECKSUM_CHARS = 6
_SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{60,{CHARS_MAX}}}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_VERSION = b"\x01"
_SIGNATURE_BYTES = 16
_ID_CHARS = 32


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """What a token grants, as it is written in it."""

    owner: str
    """The uid of the caller that it stands for."""
    cohort: str
    scopes: tuple[str, ...]
    expires_at: int
    """Seconds since 1970 UTC."""
    secret: bytes
    """Random; nobody has it but who holds the token."""
    amounts: tuple[int | None, ...] = ()
    """Of its budget, in the order of `Budget`'s fields."""

    @property
    def token_id(self) -> str:
        """Name the token's document: by a hash, which is all that is kept of the secret."""
        return hashlib.sha256(b"twohop token\n" + self.secret).hexdigest()[:_ID_CHARS]

    @property
    def budget(self) -> Budget:
        """What may be spent by it, within what its owner may."""
        return Budget(**dict(zip(Budget.__struct_fields__, self.amounts, strict=False)))

    def __repr__(self) -> str:
        return f"Grant({self.token_id})"


class TokenSigner:
    """Writes and reads the tokens of one project.

    Args:
        project: tokens of any other do not hold here.
        secrets: the first signs; all of them are believed, so that one can be rotated out. With none, no token holds.

    Raises:
        ValueError: a secret is too short to be one.
    """

    def __init__(self, *, project: str, secrets: Sequence[bytes]) -> None:
        self._project = project
        self._secrets = tuple(secrets)
        if any(len(secret) < SIGNING_BYTES_MIN for secret in self._secrets):
            raise ValueError(
                f"TOKEN_SECRET needs {SIGNING_BYTES_MIN} bytes or more; "
                'make one with: python3 -c "import secrets; print(secrets.token_hex(32))"'
            )

    @property
    def can_sign(self) -> bool:
        """Whether there is a secret to sign with."""
        return bool(self._secrets)

    def write(self, grant: Grant) -> str:
        """Return the token of a grant."""
        body = msgspec.msgpack.encode(grant)
        text = PREFIX + _to_base62(_VERSION + body + self._signature(self._secrets[0], body))
        return text + _checksum(text)

    def read(self, token: str, *, now: datetime) -> Grant:
        """Return what a token grants.

        Raises:
            UnauthenticatedError: it was mistyped, forged, made by another project, or has expired.
        """
        body, signature = _parts(token)
        matches = [hmac.compare_digest(self._signature(secret, body), signature) for secret in self._secrets]
        if not any(matches):
            raise UnauthenticatedError("the API token was not made by this project")
        grant = _grant(body)
        if now.timestamp() >= grant.expires_at:
            raise UnauthenticatedError(f"the API token {grant.token_id} has expired")
        return grant

    def _signature(self, secret: bytes, body: bytes) -> bytes:
        """The project's length goes first: no field can bleed into the next."""
        project = self._project.encode("utf-8", "surrogatepass")
        signed = b"twohop token\n%d\n%b\n%b" % (len(project), project, body)
        return hmac.digest(secret, signed, hashlib.sha256)[:_SIGNATURE_BYTES]


def is_token(text: str) -> bool:
    """Say whether a text has a token's shape and checksum, as a scanner for leaked secrets does."""
    return bool(_SHAPE.fullmatch(text)) and _checksum(text[:-_CHECKSUM_CHARS]) == text[-_CHECKSUM_CHARS:]


def unproven_grant(token: str) -> Grant:
    """Return what a token says of itself, which anybody may have written: for who found one and wants it revoked.

    Raises:
        UnauthenticatedError: it is no token.
    """
    return _grant(_parts(token)[0])


def _parts(token: str) -> tuple[bytes, bytes]:
    """Return a token's body and its signature."""
    if not is_token(token):
        raise UnauthenticatedError("the API token is mistyped, or cut off")
    raw = _from_base62(token[len(PREFIX) : -_CHECKSUM_CHARS])
    if raw[:1] != _VERSION:
        raise UnauthenticatedError("the API token is of another version")
    return raw[1:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]


def _grant(body: bytes) -> Grant:
    try:
        return msgspec.msgpack.decode(body, type=Grant)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise UnauthenticatedError("the API token holds no grant") from exc


def _checksum(text: str) -> str:
    return _to_base62(zlib.crc32(text.encode()).to_bytes(4, "big")).rjust(_CHECKSUM_CHARS, _DIGITS[0])


def _to_base62(raw: bytes) -> str:
    number, digits = int.from_bytes(raw, "big"), []
    while number:
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def _from_base62(text: str) -> bytes:
    number = 0
    for digit in text:
        number = number * len(_DIGITS) + _VALUES[digit]
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
