"""A real ledger on a loop of its own, for which a virtual loop stops: one call at a time, in no time, in one order.

A virtual clock cannot wait for threads and sockets without letting chance decide what else happens meanwhile. So the
virtual loop does not wait: it blocks. What the drives draw from a seed is then all the chance that there is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twohop.cloud.virtual import VirtualLoop


class StillLedger:
    """Stands around a ledger, and its documents."""

    def __init__(self, make: Callable[[], Any]) -> None:
        """Make the ledger on its own loop."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="still-ledger", daemon=True)
        self._thread.start()
        self._inner = self._wait_for(_made(make))

    def __getattr__(self, name: str) -> Any:
        """Return the ledger's method, which blocks the caller's loop until it has an outcome."""
        method = getattr(self._inner, name)

        async def call(*args: Any, **options: Any) -> Any:
            return self._wait_for(_asked(method, args, options))

        return call

    async def close(self) -> None:
        """Close the ledger and its loop."""
        self._wait_for(self._inner.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class FlowingLedger(StillLedger):
    """As above, but calls overlap: as long as any is under way, the virtual clock goes as fast as a real one.

    So callers meet at the database as they do in life, and which of them is first is chance.
    """

    def __getattr__(self, name: str) -> Any:
        """Return the ledger's method, while which others go on."""
        method = getattr(self._inner, name)

        async def call(*args: Any, **options: Any) -> Any:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            with loop.waiting_outside():
                asked = _asked(method, args, options)
                return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asked, self._loop))

        return call


async def _asked(method: Callable[..., Awaitable[Any]], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Call a method on the loop that it needs."""
    return await method(*args, **options)


async def _made(make: Callable[[], Any]) -> Any:
    return make()
