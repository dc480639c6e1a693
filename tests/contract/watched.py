"""A transport that shows each request to the test, and sends it."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from gate.connections import KeptConnections


class Watched(httpx.AsyncBaseTransport):
    def __init__(self, see: Callable[[httpx.Request], None]) -> None:
        self._see = see
        self._connections = KeptConnections(connections_max=10, kept_seconds=5)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._see(request)
        return await self._connections.handle_async_request(request)

    async def aclose(self) -> None:
        await self._connections.aclose()
