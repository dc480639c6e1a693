"""The worker on this machine: development with a real model and no GPU."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

from msgspec.structs import replace

from gate.errors import ProviderError, ProviderUnavailableError
from gate.exchanges import Exchanges
from gate.ports import Clock
from gate.provider import Order, Part, ProviderHealth, ProviderJob
from gate.providers._addresses import checked_loopback
from gate.providers._http import HttpHost, Sleep
from gate.providers._results import checked_secret, left_ms, signed
from gate.providers._worker import WorkerOverHttp, capabilities_over_http
from gate.settings import Settings

_PAUSE_SECONDS = 0.25
_START_SECONDS_MAX = 30
"""How long a job that nobody waits for is held back for a worker that is still starting."""


class LocalProvider:
    """A `Provider` over the worker's own HTTP, which waits for a worker that is still starting.

    Args:
        url: the worker's address on this machine; without a path, its `/infer`.
        worker_secret: signs each request, as in production.
        clock: says how long an order is still worth something.
        exchanges: another way to send requests.
        sleep: another way to wait.

    Raises:
        SettingsError: the address is not this machine's, or the secret is too short.
    """

    capabilities = capabilities_over_http("local")

    def __init__(
        self,
        *,
        url: str,
        worker_secret: bytes,
        clock: Clock,
        exchanges: Exchanges | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        address = checked_loopback(url, setting="LOCAL_WORKER_URL")
        secret = checked_secret(worker_secret)
        self._clock = clock
        self._sleep = sleep
        bytes_out_max = self.capabilities.bytes_out_max
        self._http = HttpHost(name="local", bytes_out_max=bytes_out_max, exchanges=exchanges, sleep=sleep)
        self._worker = WorkerOverHttp(
            name="local",
            url=address if address.path not in ("", "/") else address._replace(path="/infer"),
            sign=lambda order: signed(order, secret=secret, now=clock.now()).to_headers(),
            clock=clock,
            http=self._http,
            start_seconds_max=0,
        )

    @classmethod
    def from_settings(cls, settings: Settings, *, clock: Clock) -> LocalProvider:
        """Read LOCAL_WORKER_URL.

        Raises:
            SettingsError: it is missing or not an address of this machine.
        """
        return cls(
            url=settings.environment.needed("LOCAL_WORKER_URL", "the worker's address; `make dev` starts one"),
            worker_secret=settings.worker_secret.reveal().encode(),
            clock=clock,
        )

    async def submit(self, order: Order, *, wait_seconds: float) -> ProviderJob:
        """See `Provider.submit`. A worker that does not take jobs yet is waited for until the order expires."""
        bytes_in_max = self.capabilities.bytes_in_max
        until = self._clock.now() + timedelta(seconds=max(wait_seconds, _START_SECONDS_MAX))
        while True:
            try:
                if order.webhook:
                    return await self._worker.keep(
                        order, wait_seconds=wait_seconds, bytes_in_max=bytes_in_max, patient=False
                    )
                return await self._worker.run(order, bytes_in_max=bytes_in_max, patient=False)
            except ProviderUnavailableError:
                if self._clock.now() >= until:
                    raise
                await self._wait_until_ready(replace(order, expires_at=min(order.expires_at, until)))

    async def stream(self, order: Order, *, wait_seconds: float) -> AsyncGenerator[Part | ProviderJob, None]:
        """See `Streams.stream`. A worker that does not take jobs yet is waited for."""
        until = self._clock.now() + timedelta(seconds=wait_seconds)
        order_until = replace(order, expires_at=min(order.expires_at, until))
        while True:
            try:
                steps = self._worker.stream(
                    order,
                    kept_after_seconds=(until - self._clock.now()).total_seconds() if order.webhook else None,
                    bytes_in_max=self.capabilities.bytes_in_max,
                    patient=False,
                )
                async with aclosing(steps):
                    async for step in steps:
                        yield step
            except ProviderUnavailableError:
                await self._wait_until_ready(order_until)
            else:
                return

    async def status(self, provider_job_id: str) -> ProviderJob:
        """See `Provider.status`."""
        return await self._worker.status(provider_job_id)

    async def cancel(self, provider_job_id: str) -> None:
        """See `Provider.cancel`."""
        await self._worker.cancel(provider_job_id)

    async def health(self) -> ProviderHealth:
        """See `Provider.health`."""
        return await self._worker.health()

    async def close(self) -> None:
        """See `Provider.close`."""
        await self._http.close()

    async def _wait_until_ready(self, order: Order) -> None:
        """Ask for readiness rather than send the job again and again. The first pause comes before the first ask.

        Raises:
            ProviderUnavailableError: the order expired meanwhile.
        """
        ready = False
        while not ready:
            left = left_ms(order, self._clock, "local: is the worker running?") / 1000
            await self._sleep(min(_PAUSE_SECONDS, left))
            ready = await self._is_ready()

    async def _is_ready(self) -> bool:
        try:
            return (await self._worker.health()).ready
        except ProviderError:
            return False
