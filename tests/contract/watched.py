"""Exchanges that show each request to the test, and send it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gate.connections import KeptConnections
from gate.exchanges import Reply, Timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    method: str
    url: str
    body: bytes


class Watched:
    def __init__(self, see: Callable[[Sent], None]) -> None:
        self._see = see
        self._connections = KeptConnections(connections_max=10, kept_seconds=5)

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Reply:
        self._see(Sent(method=method, url=url, body=body))
        return await self._connections.exchange(method, url, headers, body, timeouts)

    async def aclose(self) -> None:
        await self._connections.aclose()
