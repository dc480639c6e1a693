"""The two forms in which Google publishes public keys. A document that cannot be read whole is none at all."""

from __future__ import annotations

from typing import Any, TypeVar

import jwt
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm

_KEY_BITS_MIN = 2048
_Document = TypeVar("_Document")


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


def keys_from_certificates(document: bytes) -> dict[str, RSAPublicKey]:
    """Read X.509 certificates in PEM, by key id.

    Raises:
        ValueError: the document is something else, or has none.
    """
    certificates = _decoded(document, dict[str, str])
    return _some({kid: _certificate_key(pem) for kid, pem in certificates.items()})


def keys_from_jwks(document: bytes) -> dict[str, RSAPublicKey]:
    """Read a JSON Web Key Set. Keys that are not RSA keys with an id are for others.

    Raises:
        ValueError: the document is something else, or has none.
    """
    entries = _decoded(document, _KeySet).keys
    ours = [entry for entry in entries if entry.get("kty") == "RSA" and isinstance(entry.get("kid"), str)]
    return _some({entry["kid"]: _jwk_key(entry) for entry in ours})


def _certificate_key(pem: str) -> RSAPublicKey:
    return _strong(x509.load_pem_x509_certificate(pem.encode()).public_key())


def _jwk_key(entry: dict[str, Any]) -> RSAPublicKey:
    try:
        return _strong(RSAAlgorithm.from_jwk(entry))
    except jwt.InvalidKeyError as exc:
        raise ValueError("not a key") from exc


def _strong(key: object) -> RSAPublicKey:
    if isinstance(key, RSAPublicKey) and key.key_size >= _KEY_BITS_MIN:
        return key
    raise ValueError("not an RSA public key of enough bits")


def _decoded(document: bytes, kind: type[_Document]) -> _Document:
    try:
        return msgspec.json.decode(document, type=kind)
    except msgspec.MsgspecError as exc:
        raise ValueError("not a document of keys") from exc


def _some(keys: dict[str, RSAPublicKey]) -> dict[str, RSAPublicKey]:
    if not keys:
        # An empty answer would refuse every caller, and would replace keys that are good.
        raise ValueError("no keys")
    return keys
