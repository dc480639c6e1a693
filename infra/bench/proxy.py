"""A proxy in front of the Firestore emulator that counts what goes through: calls by method, and operations."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_HEAD_END = b"\r\n\r\n"


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

    def note(self, head: bytes, body: bytes) -> None:
        """Count one request."""
        method, target, _ = head.decode("latin-1").split(" ", 2)
        name = target.rpartition(":")[2] if method == "POST" else method
        self.calls[name] += 1
        if name == "commit":
            writes = json.loads(body)["writes"]
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
        server = await asyncio.start_server(_Exchange(emulator, counted).serve, "127.0.0.1", 0)
        told["port"] = server.sockets[0].getsockname()[1]
        ready.set()
        await told["stop"].wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield f"127.0.0.1:{told['port']}", counted
    finally:
        told["loop"].call_soon_threadsafe(told["stop"].set)
        thread.join(10)


class _Exchange:
    """Reads what goes to the emulator request by request; what comes back goes through unread."""

    def __init__(self, emulator: str, counted: Counted) -> None:
        self._host, _, self._port = emulator.rpartition(":")
        self._counted = counted

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        there, to_there = await asyncio.open_connection(self._host, int(self._port))
        back = asyncio.create_task(self._back(there, writer))
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(_HEAD_END)
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                body = await reader.readexactly(length)
                self._counted.note(head, body)
                to_there.write(head + body)
                await to_there.drain()
        to_there.close()
        back.cancel()
        writer.close()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(1 << 16):
            writer.write(part)
