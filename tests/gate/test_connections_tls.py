"""Kept connections over TLS: a host is believed only if somebody whom this machine trusts vouches for it."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from gate.connections import KeptConnections, _tls
from gate.exchanges import NotSentError, body_of

TIMEOUTS = {"connect": 5.0, "pool": 5.0, "write": 5.0, "read": 5.0}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key, which vouches for itself."""
    key, name = rsa.generate_private_key(65537, 2048), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "host")])
    now, address = datetime.now(UTC), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "host.pem"
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@pytest.fixture
async def port(certificate: Path) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def ask(port: int) -> list[bytes]:
    _tls.cache_clear()  # Each test trusts somebody else.
    connections = KeptConnections(connections_max=1, kept_seconds=5)
    bodies = []
    try:
        for _ in range(2):
            reply = await connections.exchange("GET", f"https://127.0.0.1:{port}/", {}, b"", TIMEOUTS)
            bodies.append(await body_of(reply, TIMEOUTS["read"]))
    finally:
        await connections.aclose()
    return bodies


async def test_a_host_that_is_vouched_for_answers(
    port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    assert await ask(port) == [b"hi", b"hi"]


async def test_a_host_that_nobody_vouches_for_is_not_spoken_to(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signed job and its text are not for whoever stands in between."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    with pytest.raises(NotSentError):
        await ask(port)
