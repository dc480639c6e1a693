"""A job whose parts are passed on as they are made. Whatever ends it, it is settled once.

A stream's parts go on until one of three:

    parts ─► parts ─► … ─┬─► the end                  settled at what it took
                         ├─► an error                 settled or released, as for any job
                         └─► the caller goes away     stopped at the provider, and settled at what was used
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from gate.errors import ProviderTimeoutError
from gate.ports import Clock, Order, Part, Provider, ProviderJob, Streams
from gate.steps.dispatch import Dispatcher


class Streamer:
    """Runs one order at the provider, and tells what it makes."""

    def __init__(self, *, provider: Provider, dispatcher: Dispatcher, clock: Clock) -> None:
        self._provider = provider
        self._dispatcher = dispatcher
        self._clock = clock

    async def run(self, order: Order) -> AsyncGenerator[Part | ProviderJob, None]:
        """Yield the job's parts, each state in which it is seen, and at last its end.

        A provider that cannot stream gives the end alone. To leave the iteration early stops nothing by itself
        where the provider has a queue: `Dispatcher.stop` does.

        Raises:
            ProviderError: it did not get there; `billed` says whether it may have cost something.
        """
        if not isinstance(self._provider, Streams):
            yield await self._dispatcher.run(order)
            return
        seen: ProviderJob | None = None
        async with aclosing(self._provider.stream(order)) as steps:
            while (left := (order.expires_at - self._clock.now()).total_seconds()) > 0:
                try:
                    async with asyncio.timeout(left):
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
        yield await self._dispatcher.give_up(order, seen)
