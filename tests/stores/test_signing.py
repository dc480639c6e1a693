"""A function has no private key: Google's IAM signs an answer's address for its service account."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.auth import compute_engine
from google.auth.transport import requests
from google.cloud.storage import Client

from gate.errors import ResultStoreError
from gate.stores.bucket import BucketResultStore
from tests.makers import FakeClock

ACCOUNT = "hop1@demo.iam.gserviceaccount.com"
IAM = "https://iamcredentials.googleapis.com"


class Iam:
    """Signs as `signBlob` does, and notes who asked."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.asked: list[tuple[str, str]] = []
        self.status = 200

    def sign(self, payload: bytes) -> bytes:
        return self.key.sign(payload, padding.PKCS1v15(), hashes.SHA256())


class Metadata(compute_engine.Credentials):
    """What a deployed function has: a token and an address, and no key."""

    def refresh(self, _: Any) -> None:
        self.token, self.expiry = "a token", datetime(2100, 1, 1)  # noqa: DTZ001 - google-auth's are naive
        self._service_account_email = ACCOUNT


@pytest.fixture
def iam(monkeypatch: pytest.MonkeyPatch) -> Iterator[Iam]:
    iam = Iam()

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            iam.asked.append((self.path, self.headers["authorization"]))
            signed = base64.b64encode(iam.sign(base64.b64decode(asked["payload"]))).decode()
            body = json.dumps({"keyId": "1", "signedBlob": signed}).encode()
            self.send_response(iam.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing of each request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}"

        class Here(requests.Request):
            """Google's own transport, whose way to IAM ends on this machine."""

            def __call__(self, url: str, *args: Any, **options: Any) -> Any:
                assert url.startswith(IAM), url
                there = url.replace(IAM, here)
                return super().__call__(there, *args, **options)  # type: ignore[no-untyped-call]  # google-auth is untyped

        monkeypatch.setattr(requests, "Request", Here)
        yield iam
        server.shutdown()


@pytest.fixture
def store() -> BucketResultStore:
    credentials = Metadata(universe_domain="googleapis.com")  # type: ignore[no-untyped-call]  # google-auth is untyped
    return BucketResultStore(
        "answers", clock=FakeClock(), client=lambda: Client(project="demo", credentials=credentials)
    )


async def test_an_address_is_signed_by_the_service_accounts_own_key(iam: Iam, store: BucketResultStore) -> None:
    """Cloud Storage would check the same: the canonical request of the V4 signing process, under that key."""
    link = await store.link("0123456789abcdef" * 2)

    assert iam.asked == [(f"/v1/projects/-/serviceAccounts/{ACCOUNT}:signBlob?alt=json", "Bearer a token")]
    verify(link.url, iam)
    with pytest.raises(InvalidSignature):
        verify(link.url.replace("0123456789abcdef", "fedcba9876543210"), iam)


async def test_an_account_that_may_not_sign_for_itself_is_an_error(iam: Iam, store: BucketResultStore) -> None:
    """`roles/iam.serviceAccountTokenCreator` on itself is what it lacks."""
    iam.status = 403

    with pytest.raises(ResultStoreError):
        await store.link("0123456789abcdef" * 2)


def verify(url: str, iam: Iam) -> None:
    """Check a signed address as https://cloud.google.com/storage/docs/authentication/canonical-requests says."""
    parts = urlsplit(url)
    query, _, signature = parts.query.rpartition("&X-Goog-Signature=")
    said = {name: value for name, [value] in parse_qs(query).items()}
    account, _, scope = said["X-Goog-Credential"].partition("/")
    assert (account, said["X-Goog-SignedHeaders"]) == (ACCOUNT, "host")
    canonical = f"GET\n{parts.path}\n{query}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    message = f"GOOG4-RSA-SHA256\n{said['X-Goog-Date']}\n{scope}\n{digest}"
    iam.key.public_key().verify(bytes.fromhex(signature), message.encode(), padding.PKCS1v15(), hashes.SHA256())
