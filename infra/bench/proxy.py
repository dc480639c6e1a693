"""A proxy in front of the Firestore emulator that counts what goes through: calls by method, and operations."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

_PACKAGE = "/google.firestore.v1.Firestore/"


class Counted:
    """What went through since it was last cleared."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.writes = 0
        """In all commits; each is billed."""
        self.deletes = 0

    def clear(self) -> None:
        """Begin anew."""
        self.calls.clear()
        self.writes = self.deletes = 0

    def note(self, method: str, message: bytes) -> None:
        """Count one request."""
        from google.cloud.firestore_v1.types import CommitRequest

        name = method.removeprefix(_PACKAGE)
        self.calls[name] += 1
        if name == "Commit":
            writes = CommitRequest.deserialize(message).writes
            deletes = sum("delete" in write for write in writes)
            self.deletes += deletes
            self.writes += len(writes) - deletes


@contextmanager
def counting(emulator: str) -> Iterator[tuple[str, Counted]]:
    """Run the proxy in a thread of its own; give its `host:port` and its counts."""
    counted, ready = Counted(), threading.Event()
    told: dict[str, Any] = {}

    async def serve() -> None:
        told["loop"], told["stop"] = asyncio.get_running_loop(), asyncio.Event()
        async with grpc.aio.insecure_channel(emulator) as channel:
            server = grpc.aio.server()
            server.add_generic_rpc_handlers((_Forward(channel, counted),))
            told["port"] = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            ready.set()
            await told["stop"].wait()
            await server.stop(1)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield f"127.0.0.1:{told['port']}", counted
    finally:
        told["loop"].call_soon_threadsafe(told["stop"].set)
        thread.join(10)


class _Forward(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    """Hands every call on as the bytes that it is."""

    def __init__(self, channel: Any, counted: Counted) -> None:
        self._channel = channel
        self._counted = counted

    def service(self, details: Any) -> Any:
        method = details.method

        async def forward(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            async def noted() -> AsyncIterator[bytes]:
                async for message in requests:
                    self._counted.note(method, message)
                    yield message

            kept = [(key, value) for key, value in context.invocation_metadata() if not key.startswith(":")]
            call = self._channel.stream_stream(method)(noted(), metadata=kept)
            try:
                async for message in call:
                    yield message
            except grpc.aio.AioRpcError as exc:
                await context.abort(exc.code(), exc.details())

        return grpc.stream_stream_rpc_method_handler(forward)
