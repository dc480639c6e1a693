"""An answer whose head and body leave in one packet.

A server is told of the two one after the other, and uvicorn writes each as it comes: another call of the system, and
another packet, for each answer (ADR 0008). What it writes to is an attribute of the object that `send` belongs to.
Where a server is made in another way, it writes as it would.
"""

from __future__ import annotations

from typing import Any

from starlette.types import Message, Send


async def send_at_once(send: Send, head: Message, body: Message) -> None:
    """Send an answer whose body is there already."""
    server: Any = getattr(send, "__self__", None)
    transport = getattr(server, "transport", None)
    if transport is None:
        await send(head)
        await send(body)
        return
    server.transport = together = _Together(transport)
    try:
        await send(head)
        await send(body)
    finally:
        server.transport = transport
        together.flush()


class _Together:
    """Stands in for a transport for the time of one answer. What else than to write is asked of it is the other's."""

    __slots__ = ("_kept", "_transport")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._kept: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._kept.append(data)

    def __getattr__(self, name: str) -> Any:
        self.flush()  # first, so that nothing comes before what was written already
        return getattr(self._transport, name)

    def flush(self) -> None:
        if self._kept:
            self._transport.write(b"".join(self._kept))
            self._kept.clear()
