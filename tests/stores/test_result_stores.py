"""Every `ResultStore` keeps the promises of all of them: a folder, and a bucket behind Google's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from gate.errors import ResultStoreError
from gate.steps.results import ResultStore
from gate.stores.bucket import BucketResultStore
from gate.stores.files import FileResultStore
from tests.makers import NOON, FakeClock

JOB = "0123456789abcdef" * 2


class ResultStoreContract:
    """Fixtures give a `store` and its `clock`; `fetch` reads an address as a browser does."""

    async def fetch(self, store: Any, url: str) -> bytes | None:
        raise NotImplementedError

    async def test_what_is_kept_can_be_read_at_its_address(self, store: ResultStore) -> None:
        link = await store.keep(JOB, b'["x"]')

        assert await self.fetch(store, link.url) == b'["x"]'
        assert link.expires_at >= NOON + timedelta(hours=1)

    async def test_keeping_it_again_replaces_it(self, store: ResultStore) -> None:
        """A settlement that is tried again keeps the answer again."""
        await store.keep(JOB, b"1")
        link = await store.keep(JOB, b"2")

        assert await self.fetch(store, link.url) == b"2"

    async def test_a_later_address_is_good_for_longer(self, store: ResultStore, clock: FakeClock) -> None:
        first = await store.keep(JOB, b"1")
        clock.advance(days=7)

        later = await store.link(JOB)

        assert later.expires_at > clock.now() > first.expires_at
        assert await self.fetch(store, later.url) == b"1"

    async def test_closing_twice_is_fine(self, store: ResultStore) -> None:
        await store.close()
        await store.close()


class TestFileResultStore(ResultStoreContract):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def store(self, tmp_path: Path, clock: FakeClock) -> ResultStore:
        return FileResultStore(
            str(tmp_path / "results"), url="http://127.0.0.1/result", secret=b"s" * 32, clock=clock
        )

    async def fetch(self, store: Any, url: str) -> bytes | None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        content: bytes | None = await store.read(asked["job"], expires=asked["expires"], proof=asked["proof"])
        return content

    async def test_an_address_ends(self, store: ResultStore, clock: FakeClock) -> None:
        link = await store.keep(JOB, b"1")
        clock.advance(days=2)

        assert await self.fetch(store, link.url) is None

    async def test_an_address_cannot_be_changed_into_another(self, store: ResultStore) -> None:
        """Neither another job's, nor one that is good for longer."""
        link = await store.keep(JOB, b"1")
        await store.keep("f" * 32, b"2")
        expires = parse_qs(urlsplit(link.url).query)["expires"][0]

        assert await self.fetch(store, link.url.replace(JOB, "f" * 32)) is None
        assert await self.fetch(store, link.url.replace(expires, str(int(expires) + 1))) is None

    async def test_a_folder_that_cannot_be_written_is_an_error(self, tmp_path: Path, clock: FakeClock) -> None:
        (tmp_path / "results").write_text("in the way")
        store = FileResultStore(str(tmp_path / "results"), url="", secret=b"s" * 32, clock=clock)

        with pytest.raises(ResultStoreError):
            await store.keep(JOB, b"1")


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    from gcp_storage_emulator.server import create_server

    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="answers")
    server.start()
    yield f"http://127.0.0.1:{server._api._httpd.server_port}"
    server.stop()


class TestBucketResultStore(ResultStoreContract):
    """Google's client and its signing, against a stub of the storage API on this machine."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    async def store(self, storage: str, clock: FakeClock) -> AsyncIterator[ResultStore]:
        store = BucketResultStore("answers", clock=clock, client=lambda: _client(storage))
        yield store
        await store.close()

    async def fetch(self, store: Any, url: str) -> bytes | None:
        async with httpx.AsyncClient() as client:
            response = await client.get(url)
        return response.content if response.status_code == 200 else None

    async def test_an_address_is_signed_for_less_than_a_week(self, store: ResultStore) -> None:
        """Google signs for no longer."""
        query = parse_qs(urlsplit((await store.keep(JOB, b"1")).url).query)

        assert query["X-Goog-Algorithm"] == ["GOOG4-RSA-SHA256"]
        assert int(query["X-Goog-Expires"][0]) == 6 * 24 * 3600
        assert query["X-Goog-Signature"]

    async def test_a_bucket_that_is_not_there_is_an_error(self, storage: str, clock: FakeClock) -> None:
        store = BucketResultStore("no-such-bucket", clock=clock, client=lambda: _client(storage))

        with pytest.raises(ResultStoreError):
            await store.keep(JOB, b"1")


def _client(url: str) -> Any:
    """Return Google's own client with a key of this test, pointed at the stub."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from google.cloud.storage import Client
    from google.oauth2.service_account import Credentials

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()

    class Signing(Credentials):
        """Signs with the key; a token is not asked of Google."""

        def refresh(self, request: Any) -> None:
            self.token, self.expiry = "a token", datetime(2100, 1, 1)  # noqa: DTZ001 - google-auth's are naive

    info = {"client_email": "gate@demo.example", "private_key": pem, "token_uri": f"{url}/token"}
    credentials = Signing.from_service_account_info(info)  # type: ignore[no-untyped-call]  # google-auth is untyped
    return Client(project="demo", credentials=credentials, client_options={"api_endpoint": url})
