"""A wire that loses answers, for tests that are not asynchronous themselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.contract.lossy_proxy import LossyProxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A proxy that runs on a loop of its own."""

    proxy: LossyProxy
    port: int
    loop: asyncio.AbstractEventLoop

    def do(self, what: Callable[[], None]) -> None:
        """Do something to the proxy where it runs."""
        self.loop.call_soon_threadsafe(what)


@contextmanager
def lossy_wire(target: str) -> Iterator[Wire]:
    """Stand before a server, until the end of the test."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    proxy = LossyProxy(target)
    address = asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(10)
    try:
        yield Wire(proxy=proxy, port=int(address.rpartition(":")[2]), loop=loop)
    finally:
        asyncio.run_coroutine_threadsafe(proxy.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
