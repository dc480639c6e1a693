"""Exchanges that count what Firestore bills for the requests that they send."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from gate.connections import KeptConnections
from gate.exchanges import Reply, Timeouts, body_of


class Billed:
    """Counts reads, writes and deletes: a read a document, and one for a query that finds none."""

    def __init__(self) -> None:
        self.seen = Counter[str]()
        self._connections = KeptConnections(connections_max=10, kept_seconds=5)

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> Reply:
        """Send one, and count it by its answer."""
        reply = await self._connections.exchange(method, url, headers, body, timeouts)
        answer = await body_of(reply, timeouts["read"])
        match url.rpartition(":")[2]:
            case "commit":
                writes = json.loads(body)["writes"]
                deletes = sum("delete" in write for write in writes)
                self.seen["deletes"] += deletes
                self.seen["writes"] += len(writes) - deletes
            case "runQuery":
                self.seen["reads"] += sum("document" in row for row in json.loads(answer)) or 1
            case "batchGet":
                self.seen["reads"] += len(json.loads(body)["documents"])
            case _:
                raise AssertionError(f"nobody knows what {method} {url} costs")
        return _Read(reply, answer)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()


class _Read:
    """A reply whose body was read already."""

    def __init__(self, reply: Reply, body: bytes) -> None:
        self.status, self.headers = reply.status, reply.headers
        self._body = body

    async def chunk(self, seconds: float | None) -> bytes:
        body, self._body = self._body, b""
        return body

    async def aclose(self) -> None: ...
