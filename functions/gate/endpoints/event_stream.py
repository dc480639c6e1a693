"""Server-sent events: lines that go out as they come, heartbeats in between, and an eye on whether anybody reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping

from starlette.types import Receive, Send

_HEARTBEAT_SECONDS = 15.0
"""Proxies hang up on a silent answer, the strictest of them after half a minute."""
_HEARTBEAT = b": ping\n\n"


async def send_events(
    events: AsyncGenerator[bytes, None],
    *,
    receive: Receive,
    send: Send,
    headers: Mapping[str, str],
) -> None:
    """Answer with a stream of events, each the JSON of one `data` line.

    The iteration is cancelled as soon as the client goes away, and this returns when it has wound up. The status is
    200 whatever the events tell, because it is sent before the first of them.
    """
    leaving = asyncio.ensure_future(left(receive))
    coming: asyncio.Future[bytes | None] | None = None
    raw_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
    raw_headers.append((b"content-type", b"text/event-stream; charset=utf-8"))
    try:
        await send({"type": "http.response.start", "status": 200, "headers": raw_headers})
        while not leaving.done():
            coming = coming or asyncio.ensure_future(_next(events))
            await asyncio.wait((coming, leaving), timeout=_HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                await _send_body(send, b"" if leaving.done() else _HEARTBEAT)
                continue
            event, coming = coming.result(), None
            if event is None:
                await send({"type": "http.response.body", "body": b""})
                return
            await _send_body(send, b"data: " + event + b"\n\n")
    except OSError:
        return  # Nobody reads it.
    finally:
        leaving.cancel()
        if coming:
            coming.cancel()
            await asyncio.wait((coming,))
        await events.aclose()


async def _next(events: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(events, None)


async def _send_body(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def left(receive: Receive) -> None:
    """Return when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
