"""A signature holds or it does not, whether Python's integers say so or cryptography does."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from gate.callers.rs256 import BY_HAND_MAX, PublicKey
from tests.callers.google import WEAK_KID, private_key, public_key

MESSAGE = b"head.claims"
SIZE = 256
NUMBERS = private_key("rs256").private_numbers()
N, E, D = NUMBERS.public_numbers.n, NUMBERS.public_numbers.e, NUMBERS.d
DIGEST = hashlib.sha256(MESSAGE).digest()
SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")
SHA256_WITHOUT_NULL = bytes.fromhex("302f300b0609608648016503040201" + "0420")
SHA256_WITH_RUBBISH = bytes.fromhex("3035301106096086480165030402010404deadbeef0420")
SHA1 = bytes.fromhex("3021300906052b0e03021a05000414")


def padded(end: bytes, *, begin: bytes = b"\0\1", fill: bytes = b"\xff", between: bytes = b"\0") -> bytes:
    return begin + fill * (SIZE - len(begin) - len(between) - len(end)) + between + end


def signing(block: bytes) -> bytes:
    """Sign a block as it is, which only the owner of the private key can do."""
    assert len(block) == SIZE
    return pow(int.from_bytes(block), D, N).to_bytes(SIZE)


RIGHT = signing(padded(SHA256 + DIGEST))
SHORT = b"\0\1" + b"\xff" * 8 + b"\0" + SHA256 + DIGEST
WRONG = {
    "empty": b"",
    "nothing": bytes(SIZE),
    "one": (1).to_bytes(SIZE),
    "the modulus": N.to_bytes(SIZE),
    "the modulus less one": (N - 1).to_bytes(SIZE),
    "the greatest number": b"\xff" * SIZE,
    "a byte too few": RIGHT[1:],
    "a byte too many": b"\0" + RIGHT,
    "a byte after it": RIGHT + b"\0",
    "a bit turned": RIGHT[:-1] + bytes([RIGHT[-1] ^ 1]),
    "another message": signing(padded(SHA256 + hashlib.sha256(b"other").digest())),
    "another hash": signing(padded(SHA1 + hashlib.sha1(MESSAGE).digest())),
    "another hash's name": signing(padded(SHA1 + DIGEST)),
    "no hash's name": signing(padded(DIGEST)),
    "no parameters": signing(padded(SHA256_WITHOUT_NULL + DIGEST)),
    "rubbish for parameters": signing(padded(SHA256_WITH_RUBBISH + DIGEST)),
    "rubbish after the digest": signing(SHORT.ljust(SIZE, b"\xaa")),
    "zeros after the digest": signing(SHORT.ljust(SIZE, b"\0")),
    "rubbish before the digest": signing(SHORT[:10].ljust(SIZE - len(SHORT) + 10, b"\xaa") + SHORT[10:]),
    "padded as for encryption": signing(padded(SHA256 + DIGEST, begin=b"\0\2")),
    "padded with zeros": signing(padded(SHA256 + DIGEST, fill=b"\0")),
    "not led by a zero": signing(padded(SHA256 + DIGEST, begin=b"\1\1")),
    "no zero in between": signing(padded(SHA256 + DIGEST, between=b"\xff")),
}


def key_of_few_tokens() -> PublicKey:
    return PublicKey(modulus=N, exponent=E)


def key_of_many_tokens() -> PublicKey:
    key = PublicKey(modulus=N, exponent=E)
    assert all(key.signed(MESSAGE, RIGHT) for _ in range(BY_HAND_MAX))
    return key


@pytest.fixture(params=[key_of_few_tokens, key_of_many_tokens], ids=["integers", "cryptography"])
def key(request: pytest.FixtureRequest) -> PublicKey:
    """Return a key of each way, and a new one for each test: one that is shared would go over to the library."""
    made: PublicKey = request.param()
    return made


def test_what_its_other_half_signed_holds(key: PublicKey) -> None:
    assert key.signed(MESSAGE, RIGHT)
    assert not key.signed(MESSAGE + b".", RIGHT)


@pytest.mark.parametrize("signature", WRONG.values(), ids=WRONG)
def test_nothing_else_holds(key: PublicKey, signature: bytes) -> None:
    """Forgeries of RSA signatures came of padding that was read, and not compared: both ways refuse all the same."""
    assert not key.signed(MESSAGE, signature)


def test_another_key_s_signature_does_not_hold() -> None:
    assert not public_key("stranger").signed(MESSAGE, RIGHT)


@pytest.mark.parametrize(("modulus", "exponent"), [(N, 1), (N, 2), (N, 65536), (N, N + 2), (N - 1, E), (N >> 1, E)])
def test_numbers_that_are_no_strong_key_are_none(modulus: int, exponent: int) -> None:
    """With an exponent of one, everybody could sign."""
    with pytest.raises(ValueError, match="RSA"):
        PublicKey(modulus=modulus, exponent=exponent)


def test_a_weak_key_is_none() -> None:
    with pytest.raises(ValueError, match="bits"):
        public_key(WEAK_KID)


def test_only_a_key_of_many_tokens_loads_the_library() -> None:
    """It is the largest file of a cold start, and whoever has few callers never needs it."""
    code = f"""
import sys
from gate.callers.rs256 import BY_HAND_MAX, PublicKey
key = PublicKey(modulus={N}, exponent={E})
for number in range(BY_HAND_MAX + 1):
    loaded = "cryptography" in sys.modules
    assert key.signed({MESSAGE!r}, {RIGHT!r})
print(loaded, "cryptography" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "True"]
