"""The form in which Google publishes public keys. A document that cannot be read whole is none at all."""

from __future__ import annotations

from typing import Any

import msgspec

from gate.callers.base64url import read_base64url
from gate.callers.rs256 import PublicKey


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


class _Numbers(msgspec.Struct):
    """What of an RSA key is public, as RFC 7518 writes it (6.3.1)."""

    n: str
    e: str


def read_key_set(document: bytes) -> dict[str, PublicKey]:
    """Read a JSON Web Key Set, by key id. Keys that are not RSA keys with an id are for others.

    Raises:
        ValueError: the document is something else, or has none.
    """
    try:
        entries = msgspec.json.decode(document, type=_KeySet).keys
        ours = [entry for entry in entries if entry.get("kty") == "RSA" and isinstance(entry.get("kid"), str)]
        keys = {entry["kid"]: _key(msgspec.convert(entry, _Numbers)) for entry in ours}
    except msgspec.MsgspecError as exc:
        raise ValueError("not a document of keys") from exc
    if not keys:
        # An empty answer would refuse every caller, and would replace keys that are good.
        raise ValueError("no keys")
    return keys


def _key(numbers: _Numbers) -> PublicKey:
    exponent, modulus = (int.from_bytes(read_base64url(text)) for text in (numbers.e, numbers.n))
    return PublicKey(modulus=modulus, exponent=exponent)
