"""Where Firestore is and what opens it: the emulator, Google with the instance's own account, or the operator's."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from gate.errors import LedgerError
from gate.exchanges import ExchangeError, Exchanges, body_of

_GOOGLE = "https://firestore.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/datastore"
_METADATA = "/computeMetadata/v1/instance/service-accounts/default/token"
_RENEW_SECONDS = 240.0
"""Before a token's end. Google's servers hand out another from five minutes before it."""
_TIMEOUTS = {"connect": 3.0, "read": 5.0, "write": 5.0, "pool": 5.0}


class Access(Protocol):
    """Opens the door for one request after the other."""

    async def headers(self) -> Mapping[str, str]:
        """Return what a request must carry.

        Raises:
            LedgerError: nobody vouches for this process.
        """
        ...


def open_access(exchanges: Exchanges) -> tuple[str, Access]:
    """Return Firestore's address and what opens it, as the environment says."""
    emulator = os.environ.get("FIRESTORE_EMULATOR_HOST")
    if emulator:
        return f"http://{emulator}", _Owner()
    if os.environ.get("K_SERVICE"):
        return _GOOGLE, _InstanceAccount(exchanges)
    return _GOOGLE, _OperatorAccount()


class _Owner:
    """The emulator's own: it is let past the security rules, as a server is."""

    async def headers(self) -> Mapping[str, str]:
        return {"authorization": "Bearer owner"}


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float


class _InstanceAccount:
    """The account that the instance runs as, asked of Google's metadata server.

    google-auth would ask the same, and takes as long to import as all of hop 1.
    """

    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges
        self._asking = asyncio.Lock()
        self._headers: Mapping[str, str] = {}
        self._renew_at = 0.0

    async def headers(self) -> Mapping[str, str]:
        if time.monotonic() >= self._renew_at:
            async with self._asking:
                if time.monotonic() >= self._renew_at:
                    await self._renew()
        return self._headers

    async def _renew(self) -> None:
        host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
        url, headers = f"http://{host}{_METADATA}", {"metadata-flavor": "Google"}
        try:
            reply = await self._exchanges.exchange("GET", url, headers, b"", _TIMEOUTS)
            token = msgspec.json.decode(await body_of(reply, _TIMEOUTS["read"]), type=_Token)
        except (ExchangeError, msgspec.MsgspecError) as exc:
            raise LedgerError(f"the metadata server gives no token: {type(exc).__name__}") from exc
        self._headers = {"authorization": f"Bearer {token.access_token}"}
        self._renew_at = time.monotonic() + max(1.0, token.expires_in - _RENEW_SECONDS)


class _OperatorAccount:
    """Application default credentials: `gcloud auth application-default login`."""

    def __init__(self) -> None:
        self._credentials: Any = None

    async def headers(self) -> Mapping[str, str]:
        if self._credentials is None or not self._credentials.valid:
            await asyncio.to_thread(self._refresh)
        return {"authorization": f"Bearer {self._credentials.token}"}

    def _refresh(self) -> None:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request

        try:
            if self._credentials is None:
                self._credentials, _ = google.auth.default(scopes=[_SCOPE])
            self._credentials.refresh(Request())
        except GoogleAuthError as exc:
            raise LedgerError(f"Google does not know who is asking: {exc}") from exc
