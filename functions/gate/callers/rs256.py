"""RS256, which Google signs tokens with: RFC 7518, 3.3, and RFC 8017, 8.2.2.

cryptography does it in 20 µs, and its library is the largest file of a cold start: 14 MB, 30 ms from a disk (ADR
0008). So the first tokens are verified with Python's integers, in 180 µs each, in the RFC's own way: make the one
block that a signature may hold, and compare all of it. Nothing is parsed, and nothing here is secret. When that has
taken as long as the library takes to load, it is loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

_BITS_MIN = 2048
BY_HAND_MAX = 32
"""Signatures of a key; then the library would have paid."""
_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")
"""What a digest of SHA-256 is introduced with, in DER: RFC 8017, 9.2, note 1."""

_Check = Callable[[bytes, bytes], bool]


class PublicKey:
    """Tells what was signed with its other half.

    Raises:
        ValueError: its numbers are no RSA key, or one that is too weak.
    """

    def __init__(self, *, modulus: int, exponent: int) -> None:
        if modulus.bit_length() < _BITS_MIN or not modulus & exponent & 1 or not 3 <= exponent < modulus:
            raise ValueError("not an RSA public key of enough bits")
        self._modulus = modulus
        self._exponent = exponent
        self._by_hand_left = BY_HAND_MAX
        self._check: _Check | None = None

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Tell whether this is the message's signature."""
        if self._check is None and self._by_hand_left:
            self._by_hand_left -= 1
            return self._signed_by_hand(message, signature)
        self._check = self._check or _by_library(self._modulus, self._exponent)
        return self._check(message, signature)

    def _signed_by_hand(self, message: bytes, signature: bytes) -> bool:
        size = (self._modulus.bit_length() + 7) // 8
        number = int.from_bytes(signature)
        if len(signature) != size or number >= self._modulus:
            return False
        end = b"\0" + _SHA256 + hashlib.sha256(message).digest()
        block = b"\0\1".ljust(size - len(end), b"\xff") + end
        return pow(number, self._exponent, self._modulus) == int.from_bytes(block)


def _by_library(modulus: int, exponent: int) -> _Check:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
    from cryptography.hazmat.primitives.hashes import SHA256

    key, way = RSAPublicNumbers(exponent, modulus).public_key(), (PKCS1v15(), SHA256())

    def check(message: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, message, *way)
        except InvalidSignature:
            return False
        return True

    return check
