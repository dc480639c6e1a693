"""Sign-in without Google: one key pair, the documents that publish it, and ID tokens that it signed."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

PROJECT = "demo-bench"
_KID = "bench"
_LIFETIME_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Who signs the tokens of a run. Verifying one takes what verifying Google's takes: RS256, 2,048 bits."""

    key: rsa.RSAPrivateKey

    @classmethod
    def new(cls) -> SignIn:
        """Return a sign-in with a key pair of its own."""
        return cls(key=rsa.generate_private_key(public_exponent=65537, key_size=2048))

    def certificates(self) -> str:
        """Return the document that Firebase's SDKs read: certificates in PEM by key id, as JSON."""
        name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")]), datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(self.key, hashes.SHA256())
        )
        return json.dumps({_KID: made.public_bytes(serialization.Encoding.PEM).decode()})

    def key_set(self) -> str:
        """Return the same key in the form that hop 1 reads."""
        numbers = self.key.public_key().public_numbers()
        n, e = (_base64(number.to_bytes((number.bit_length() + 7) // 8)) for number in (numbers.n, numbers.e))
        return json.dumps({"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": _KID, "n": n, "e": e}]})

    def public_pem(self) -> str:
        """Return the public key in PEM."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def token(self, uid: str) -> str:
        """Return an ID token of a caller, with the claims that Firebase's have."""
        now = int(time.time())
        claims = {
            "iss": f"https://securetoken.google.com/{PROJECT}",
            "aud": PROJECT,
            "auth_time": now - 60,
            "user_id": uid,
            "sub": uid,
            "iat": now - 30,
            "exp": now + _LIFETIME_SECONDS,
            "email": f"{uid}@example.com",
            "email_verified": True,
            "firebase": {"identities": {"email": [f"{uid}@example.com"]}, "sign_in_provider": "password"},
        }
        signed = f"{_encoded({'alg': 'RS256', 'kid': _KID, 'typ': 'JWT'})}.{_encoded(claims)}"
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64(signature)}"


def forged(token: str) -> str:
    """Return the token with a signature that does not hold."""
    return token[:-8] + ("AAAAAAAA" if not token.endswith("AAAAAAAA") else "BBBBBBBB")


def _encoded(fields: object) -> str:
    return _base64(json.dumps(fields, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
