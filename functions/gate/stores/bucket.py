"""Large answers in a bucket of Google Cloud Storage, read by signed addresses.

The SDK blocks, so that each call runs in a thread. It is imported at the first large answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from gate.errors import ResultStoreError
from gate.ports import Clock
from gate.steps.results import Link

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

_FOLDER = "results"
_GOOD_FOR = timedelta(days=6)
"""Google signs for a week at most, and its clock need not be ours."""
_TIMEOUT_SECONDS = 30

_Result = TypeVar("_Result")


class BucketResultStore:
    """A `ResultStore` in one bucket, under `results/`. The bucket's own lifecycle rule deletes what is old.

    Args:
        bucket: its name.
        clock: says when an address expires.
        client: makes the SDK's client; by default one with the function's own credentials.
    """

    def __init__(self, bucket: str, *, clock: Clock, client: Callable[[], Client] | None = None) -> None:
        self._bucket = bucket
        self._clock = clock
        self._make_client = client or _default_client
        self._client: Client | None = None

    async def keep(self, job_id: str, content: bytes) -> Link:
        """See `ResultStore.keep`."""
        await self._in_thread(
            lambda: self._blob(job_id).upload_from_string(
                content, content_type="application/json", timeout=_TIMEOUT_SECONDS
            )
        )
        return await self.link(job_id)

    async def link(self, job_id: str) -> Link:
        """See `ResultStore.link`."""
        expires_at = self._clock.now() + _GOOD_FOR
        url = await self._in_thread(
            lambda: self._blob(job_id).generate_signed_url(
                version="v4", expiration=_GOOD_FOR, method="GET", **_signer(self._opened()._credentials)
            )
        )
        return Link(url=str(url), expires_at=expires_at)

    async def close(self) -> None:
        """See `ResultStore.close`."""
        client, self._client = self._client, None
        if client:
            await asyncio.to_thread(client.close)

    def _blob(self, job_id: str) -> Blob:
        return self._opened().bucket(self._bucket).blob(f"{_FOLDER}/{job_id}.json")

    def _opened(self) -> Client:
        if self._client is None:
            self._client = self._make_client()
        return self._client

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from requests import RequestException

        try:
            return await asyncio.to_thread(work)
        except (GoogleAPIError, GoogleAuthError, RequestException, AttributeError) as exc:
            # An AttributeError is the SDK's word for credentials that cannot sign.
            raise ResultStoreError(f"bucket {self._bucket}: {type(exc).__name__}: {exc}") from exc


def _signer(credentials: Any) -> dict[str, str]:
    """Return who signs. A function has no private key: Google signs for it, if its account may sign for itself."""
    from google.auth.transport.requests import Request
    from google.oauth2.service_account import Credentials

    if isinstance(credentials, Credentials):
        return {}
    credentials.refresh(Request())
    return {"service_account_email": credentials.service_account_email, "access_token": credentials.token}


def _default_client() -> Client:
    from google.cloud.storage import Client

    return Client()
