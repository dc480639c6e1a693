"""Over TLS, as RunPod's addresses are: connections are verified and kept, and hanging up loses no answer either."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from worker.queue.link import client as client_module
from worker.queue.link.client import Client
from worker.queue.link.errors import LostError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody but its own key vouches for, with that key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a fake queue")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    file.write_bytes(made.public_bytes(pem) + private)
    return file


@pytest.fixture
def trusting(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the client trust that certificate."""
    context = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(client_module, "_tls", lambda: context)


async def listen(certificate: Path, serve: Serve) -> tuple[asyncio.Server, str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    return server, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.usefixtures("trusting")
async def test_an_answer_that_was_under_way_is_heard_after_hanging_up(certificate: Path) -> None:
    """TLS knows no half of a connection, so the half below it is closed."""
    client, connections = Client(), list[asyncio.StreamWriter]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        client.hang_up("take")
        assert await reader.read() == b""
        writer.close()

    server, url = await listen(certificate, serve)
    bodies = [(await client.send("GET", url, seconds_max=5, name="take")).body for _ in range(2)]
    client.close()
    server.close()

    assert bodies == [b"ok", b"ok"]
    assert len(connections) == 1


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    """The key goes with each call; it must not go to a stranger."""
    heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.close()

    server, url = await listen(certificate, serve)
    with pytest.raises(LostError, match="CERTIFICATE_VERIFY_FAILED"):
        await Client({"Authorization": "a-key"}).send("GET", url, seconds_max=5)
    server.close()

    assert not any(heard)
