"""A job whose parts are passed on as they are made. Whatever ends it, it is settled once.

A stream's parts go on until one of four:

    parts ─► parts ─► … ─┬─► the end                  settled at what it took
                         ├─► an error                 settled or released, as for any job
                         ├─► the caller goes away     stopped at the provider, and settled at what was used
                         └─► its wait is over         handed over, if its provider keeps jobs; else given up
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime

from gate.errors import ProviderTimeoutError
from gate.ports import Clock
from gate.provider import Order, Part, Provider, ProviderJob, Streams
from gate.steps.dispatch import Dispatcher

_GRACE_SECONDS = 5.0
"""How much longer than the wait the provider has to say that a job goes on."""


class Streamer:
    """Runs one order at the provider, and tells what it makes."""

    def __init__(self, *, provider: Provider, dispatcher: Dispatcher, clock: Clock) -> None:
        self._provider = provider
        self._dispatcher = dispatcher
        self._clock = clock

    async def run(self, order: Order, *, until: datetime) -> AsyncGenerator[Part | ProviderJob, None]:
        """Yield the job's parts, each state in which it is seen, and at last its end, or how it stands at a time.

        A provider that cannot stream gives the last alone. To leave the iteration early stops nothing by itself
        where the provider has a queue: `Dispatcher.stop` does.

        Args:
            order: what is to be done.
            until: how long it is waited for; no longer than until the order expires.

        Raises:
            ProviderError: it did not get there; `billed` says whether it may have cost something.
        """
        if not isinstance(self._provider, Streams):
            yield await self._dispatcher.run(order, until=until)
            return
        outlives = until < order.expires_at
        seen: ProviderJob | None = None
        wait_seconds = (until - self._clock.now()).total_seconds()
        async with aclosing(self._provider.stream(order, wait_seconds=wait_seconds)) as steps:
            while (left := (until - self._clock.now()).total_seconds()) > 0 or outlives:
                try:
                    async with asyncio.timeout(left + _GRACE_SECONDS * outlives):
                        step = await anext(steps)
                except (TimeoutError, StopAsyncIteration):
                    break
                yield step
                if isinstance(step, ProviderJob):
                    if step.state.final:
                        return
                    seen = step
        if seen is None:
            raise ProviderTimeoutError("the stream did not end by its expiry")
        if not outlives:
            yield await self._dispatcher.give_up(order, seen)
