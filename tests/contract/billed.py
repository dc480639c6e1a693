"""A transport that counts what Firestore bills for the requests that it sends."""

from __future__ import annotations

import json
from collections import Counter

import httpx

from gate.connections import KeptConnections


class Billed(httpx.AsyncBaseTransport):
    """Counts reads, writes and deletes: a read a document, and one for a query that finds none."""

    def __init__(self) -> None:
        self.seen = Counter[str]()
        self._connections = KeptConnections(connections_max=10, kept_seconds=5)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one, and count it by its answer."""
        response = await self._connections.handle_async_request(request)
        answer = await response.aread()
        match request.url.path.rpartition(":")[2]:
            case "commit":
                writes = json.loads(request.content)["writes"]
                deletes = sum("delete" in write for write in writes)
                self.seen["deletes"] += deletes
                self.seen["writes"] += len(writes) - deletes
            case "runQuery":
                self.seen["reads"] += sum("document" in row for row in json.loads(answer)) or 1
            case _:
                assert request.method == "GET", request.url
                self.seen["reads"] += 1
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()
