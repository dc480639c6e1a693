"""Google's part of the sign-in, on this machine: key pairs, the documents that publish them, tokens they sign."""

from __future__ import annotations

import asyncio
import base64
import json
from functools import cache
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from jwt.algorithms import RSAAlgorithm

from gate.callers.rs256 import PublicKey
from gate.over_httpx import OverHttpx
from tests.makers import NOON

PROJECT = "demo-project"
PROJECT_NUMBER = "123456789012"
KID = "key-1"
WEAK_KID = "weak"


@cache
def private_key(kid: str) -> rsa.RSAPrivateKey:
    """One pair for each id; making one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024 if kid == WEAK_KID else 2048)


def public_key(kid: str = KID) -> PublicKey:
    numbers = private_key(kid).public_key().public_numbers()
    return PublicKey(modulus=numbers.n, exponent=numbers.e)


def is_of(kid: str, key: PublicKey) -> bool:
    """Tell whether a key is the public half of a pair."""
    return key.signed(b"hello", private_key(kid).sign(b"hello", PKCS1v15(), SHA256()))


def public_pem(kid: str = KID) -> bytes:
    return (
        private_key(kid)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def key_set(*kids: str) -> bytes:
    keys = [{**RSAAlgorithm.to_jwk(private_key(kid).public_key(), as_dict=True), "kid": kid} for kid in kids]
    return json.dumps({"keys": [{"kty": "EC", "kid": "not-ours"}, *keys]}).encode()


def id_claims(uid: Any = "alice", *, anonymous: bool = False, **changes: Any) -> dict[str, Any]:
    """Return what Firebase puts into an ID token, signed in a minute before noon."""
    now = int(NOON.timestamp())
    claims = {
        "iss": f"https://securetoken.google.com/{PROJECT}",
        "aud": PROJECT,
        "auth_time": now - 60,
        "user_id": uid,
        "sub": uid,
        "iat": now - 60,
        "exp": now + 3540,
        "firebase": {"identities": {}, "sign_in_provider": "anonymous" if anonymous else "google.com"},
    }
    return {name: value for name, value in {**claims, **changes}.items() if value is not ...}


def app_claims(**changes: Any) -> dict[str, Any]:
    """Return what App Check puts into a token."""
    now = int(NOON.timestamp())
    claims = {
        "iss": f"https://firebaseappcheck.googleapis.com/{PROJECT_NUMBER}",
        "aud": [f"projects/{PROJECT_NUMBER}", f"projects/{PROJECT}"],
        "sub": f"1:{PROJECT_NUMBER}:web:abc",
        "iat": now - 60,
        "exp": now + 3540,
    }
    return {**claims, **changes}


def sign(claims: dict[str, Any], *, kid: str = KID, headers: dict[str, Any] | None = None) -> str:
    return jwt.encode(claims, private_key(kid), algorithm="RS256", headers={"kid": kid, **(headers or {})})


def forge(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """Write a token by hand, as no library would."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def tamper(token: str, **changes: Any) -> str:
    """Change claims and leave the signature as it was."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    changed = base64.urlsafe_b64encode(json.dumps({**claims, **changes}).encode()).rstrip(b"=").decode()
    return f"{header}.{changed}.{signature}"


class KeyServer:
    """Publishes keys over a transport, and counts who asks."""

    def __init__(self, document: bytes, *, cache_control: str = "public, max-age=3600") -> None:
        self.document = document
        self.headers = {"cache-control": cache_control}
        self.status = 200
        self.error: Exception | None = None
        self.asked = 0
        self.exchanges = OverHttpx(httpx.MockTransport(self._answer))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        await asyncio.sleep(0.01)  # A network gives the other tasks their turn, so they could all ask.
        if self.error:
            raise self.error
        return httpx.Response(self.status, content=self.document, headers=self.headers)
