"""A container behind an address: Twohop's worker on any host, or the developer's own app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from gate import wire
from gate.errors import SettingsError
from gate.exchanges import Exchanges
from gate.ports import Clock
from gate.provider import Order, Part, ProviderHealth, ProviderJob, ProviderState
from gate.providers._addresses import checked_address
from gate.providers._http import HttpHost, Sleep, header_text
from gate.providers._results import checked_secret, signed
from gate.providers._worker import Sign, WorkerOverHttp, capabilities_over_http
from gate.settings import Settings


class ContainerProvider:
    """A `Provider` that posts each job to one address.

    Twohop's worker keeps a job that outlives its call, in its memory. Any other app is waited for.

    Args:
        url: answers POST with the worker's result, or with the outputs themselves as JSON.
        worker_secret: signs each request, or is the key itself.
        clock: says how long an order is still worth something.
        auth: `signature` for Twohop's worker; `bearer` for an app that checks a plain key.
        queue: whether Twohop's worker may go on with a job that no request is held open for.
        start_seconds_max: how long a host that scales to zero may take to start the container.
        exchanges: another way to send requests.
        sleep: another way to wait.

    Raises:
        SettingsError: one of them cannot be right.
    """

    def __init__(
        self,
        *,
        url: str,
        worker_secret: bytes,
        clock: Clock,
        auth: str = "signature",
        queue: bool = True,
        start_seconds_max: float = 60,
        exchanges: Exchanges | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.capabilities = capabilities_over_http("container", twohop=auth == "signature", queues=queue)
        bytes_out_max = self.capabilities.bytes_out_max
        self._http = HttpHost(name="container", bytes_out_max=bytes_out_max, exchanges=exchanges, sleep=sleep)
        self._worker = WorkerOverHttp(
            name="container",
            url=checked_address(url, setting="CONTAINER_URL"),
            sign=_sign(auth, worker_secret, clock),
            clock=clock,
            http=self._http,
            start_seconds_max=start_seconds_max,
        )

    @classmethod
    def from_settings(cls, settings: Settings, *, clock: Clock) -> ContainerProvider:
        """Read CONTAINER_URL, CONTAINER_AUTH and CONTAINER_QUEUE.

        Raises:
            SettingsError: one of them is missing or cannot be right.
        """
        read = settings.environment
        return cls(
            url=read.needed("CONTAINER_URL", "the address that answers POST, https://…/infer"),
            worker_secret=settings.worker_secret.reveal().encode(),
            clock=clock,
            auth=read.one_of("CONTAINER_AUTH", ("signature", "bearer"), "signature"),
            queue=read.one_of("CONTAINER_QUEUE", ("on", "off"), "on") == "on",
            start_seconds_max=settings.start_seconds_max,
        )

    async def submit(self, order: Order, *, wait_seconds: float) -> ProviderJob:
        """See `Provider.submit`. A job that may not outlive its call is waited for, however short the wait."""
        bytes_in_max = self.capabilities.bytes_in_max
        if order.webhook and self.capabilities.queues:
            return await self._worker.keep(order, wait_seconds=wait_seconds, bytes_in_max=bytes_in_max)
        return await self._worker.run(order, bytes_in_max=bytes_in_max)

    def stream(self, order: Order, *, wait_seconds: float) -> AsyncGenerator[Part | ProviderJob, None]:
        """See `Streams.stream`."""
        return self._worker.stream(
            order,
            kept_after_seconds=wait_seconds if order.webhook and self.capabilities.queues else None,
            bytes_in_max=self.capabilities.bytes_in_max,
        )

    async def status(self, provider_job_id: str) -> ProviderJob:
        """See `Provider.status`. Where nothing is kept, no job is known."""
        if not self.capabilities.queues:
            return ProviderJob(provider_job_id=provider_job_id, state=ProviderState.EXPIRED)
        return await self._worker.status(provider_job_id)

    async def cancel(self, provider_job_id: str) -> None:
        """See `Provider.cancel`. Where nothing is kept, a job ends before anybody knows an id to cancel it by."""
        if self.capabilities.queues:
            await self._worker.cancel(provider_job_id)

    async def health(self) -> ProviderHealth:
        """See `Provider.health`. A host that scales to zero may start the container to answer."""
        return await self._worker.health()

    async def close(self) -> None:
        """See `Provider.close`."""
        await self._http.close()


def _sign(auth: str, secret: bytes, clock: Clock) -> Sign:
    if auth == "signature":
        checked_secret(secret)
        return lambda order: signed(order, secret=secret, now=clock.now()).to_headers()
    if auth == "bearer":
        key = header_text("WORKER_SECRET", secret.decode("utf-8", "replace"))
        return lambda order: {"authorization": f"Bearer {key}", wire.JOB_HEADER: order.job_id}
    raise SettingsError("CONTAINER_AUTH is not one of: signature, bearer")
