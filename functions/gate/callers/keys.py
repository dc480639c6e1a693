"""Public keys of those who sign tokens: kept as long as their owner says, and never asked for in a flood."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Protocol

from gate.callers.key_set import read_key_set
from gate.callers.rs256 import PublicKey
from gate.errors import LedgerError, UnauthenticatedError
from gate.exchanges import ExchangeError, Exchanges, body_of
from gate.ports import Clock

FIREBASE_JWKS_URL = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"
"""The `jwks_uri` of https://securetoken.google.com/PROJECT/.well-known/openid-configuration: the same keys as in
the certificates that Firebase's documentation names, without the X.509 around them."""
APP_CHECK_JWKS_URL = "https://firebaseappcheck.googleapis.com/v1/jwks"

_SECONDS = 5.0
_TIMEOUTS = {"connect": _SECONDS, "pool": _SECONDS, "write": _SECONDS, "read": _SECONDS}
_HEADERS = {"accept": "application/json", "accept-encoding": "identity"}
_FETCH_SECONDS_MAX = 10
_DOCUMENT_BYTES_MAX = 262_144
_AGE_DEFAULT = timedelta(minutes=5)
"""For an answer that does not say how long it holds."""
_AGE_MAX = timedelta(hours=24)
_GRACE = timedelta(hours=1)
"""Google signs with a key for hours after it published the next, so a short outage need not stop anybody."""
_UNKNOWN_PAUSE = timedelta(minutes=1)
_FAILURE_PAUSE = timedelta(seconds=5)


class KeySource(Protocol):
    """Where public keys come from."""

    async def key(self, kid: str) -> PublicKey:
        """Return the key of this id.

        Raises:
            UnauthenticatedError: there is no such key.
            LedgerError: the keys cannot be had, so nobody can be verified.
        """
        ...

    def read_ahead(self) -> None:
        """Begin to ask for the keys, from within the event loop, once."""
        ...


class RemoteKeys:
    """Keys that are published at an address."""

    def __init__(self, url: str, *, exchanges: Exchanges, clock: Clock) -> None:
        self._url = url
        self._exchanges = exchanges
        self._clock = clock
        self._keys: Mapping[str, PublicKey] = {}
        self._fetching = asyncio.Lock()
        self._ahead: asyncio.Task[None] | None = None
        self._failed = False
        self._fresh_until = self._ask_again_at = datetime.min.replace(tzinfo=clock.now().tzinfo)

    @classmethod
    def of_firebase(cls, exchanges: Exchanges, clock: Clock) -> RemoteKeys:
        """Return the keys that sign Firebase ID tokens."""
        return cls(FIREBASE_JWKS_URL, exchanges=exchanges, clock=clock)

    @classmethod
    def of_app_check(cls, exchanges: Exchanges, clock: Clock) -> RemoteKeys:
        """Return the keys that sign App Check tokens."""
        return cls(APP_CHECK_JWKS_URL, exchanges=exchanges, clock=clock)

    async def key(self, kid: str) -> PublicKey:
        """See `KeySource.key`."""
        now = self._clock.now()
        found = self._keys.get(kid)
        if found and now < self._fresh_until:
            return found
        if self._wants_fetch(kid, now):
            async with self._fetching:
                # Another task may have fetched them while this one waited for its turn.
                if self._wants_fetch(kid, self._clock.now()):
                    await self._fetch()
        found = self._keys.get(kid)
        if found and self._clock.now() < self._fresh_until + _GRACE:
            return found
        if self._failed:
            raise LedgerError("the public keys of the sign-in cannot be fetched")
        raise UnauthenticatedError("the token names a key that its issuer does not have")

    def read_ahead(self) -> None:
        """See `KeySource.read_ahead`."""
        if self._ahead is None:
            self._ahead = asyncio.create_task(self._read_ahead())  # The loop forgets tasks that nobody holds on to.

    async def _read_ahead(self) -> None:
        async with self._fetching:
            if not self._keys and self._clock.now() >= self._ask_again_at:
                await self._fetch()

    def _wants_fetch(self, kid: str, now: datetime) -> bool:
        """Say whether asking may help, and is not too soon: forged ids must not become a flood of requests."""
        return (now >= self._fresh_until or kid not in self._keys) and now >= self._ask_again_at

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_SECONDS_MAX):
                document, lifetime = await self._published()
            keys = read_key_set(document)
        except (ExchangeError, TimeoutError, ValueError):
            # Keys that were good until a moment ago still are, for the length of the grace.
            self._failed = True
            now = self._clock.now()
            self._ask_again_at = now + (_UNKNOWN_PAUSE if now < self._fresh_until else _FAILURE_PAUSE)
        else:
            self._keep(keys, lifetime)

    async def _published(self) -> tuple[bytes, timedelta]:
        """Return the document of keys, and how long it holds."""
        reply = await self._exchanges.exchange("GET", self._url, _HEADERS, b"", _TIMEOUTS)
        document = await body_of(reply, _SECONDS, bytes_max=_DOCUMENT_BYTES_MAX)
        if reply.status != 200:
            raise ValueError(f"HTTP {reply.status}")
        return document, _lifetime(reply.headers)

    def _keep(self, keys: Mapping[str, PublicKey], lifetime: timedelta) -> None:
        now = self._clock.now()
        self._keys = keys
        self._failed = False
        self._fresh_until = now + lifetime
        self._ask_again_at = now + _UNKNOWN_PAUSE


def _lifetime(headers: Mapping[str, str]) -> timedelta:
    """Return how long an answer holds from now on: its max-age, less the age it had on arrival."""
    stated = re.search(r"(?:^|[\s,])max-age=(\d{1,9})", headers.get("cache-control", ""))
    if not stated:
        return _AGE_DEFAULT
    age = headers.get("age", "")
    left = timedelta(seconds=int(stated[1]) - (int(age) if re.fullmatch(r"\d{1,9}", age) else 0))
    return min(max(left, timedelta(0)), _AGE_MAX)
