"""A door that speaks the Firebase callable protocol, so that the unmodified Firebase SDKs are its clients.

Request: `POST`, JSON, `{"data": …}`. Answer: `{"result": …}`, or an HTTP status of 400 or more and
`{"error": {status, message, details}}`.
A client that asks for `text/event-stream` gets events with status 200: `{"message": …}` for each part, and at the end
`{"result": …}` or `{"error": …}`. Refusals too: the JS SDK's `.stream()` looks at nothing else, and would wait for
ever.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.json import Decoder
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from gate.endpoints.answers import error_json
from gate.endpoints.cors import Origins
from gate.endpoints.event_stream import send_events
from gate.endpoints.incoming import Bodies, check_is_json, credentials_of, decoded, headers_of
from gate.endpoints.one_packet import send_at_once
from gate.endpoints.refusals import Refusals
from gate.errors import GateError, InvalidRequestError
from gate.log import EventLog
from gate.ports import Caller, CallerVerifier
from gate.random_text import random_hex

_Payload = TypeVar("_Payload")


class Envelope(msgspec.Struct, Generic[_Payload], frozen=True, forbid_unknown_fields=True):
    """The body of a callable's request."""

    data: _Payload


class Call(msgspec.Struct, Generic[_Payload], frozen=True, kw_only=True):
    """What a handler is given."""

    caller: Caller
    payload: _Payload
    size_bytes: int
    """Of the request's body."""


_JSON = b"application/json"
_EVENTS = b"text/event-stream; charset=utf-8"

_Handler = Callable[[Call[_Payload]], Awaitable[dict[str, Any]]]
_Streamer = Callable[[Call[_Payload]], AsyncGenerator[dict[str, Any], None]]
"""Yields `{"message": …}` any number of times, and then `{"result": …}`."""


class CallableDoor(Generic[_Payload]):
    """An ASGI app around one handler: asks who it is, reads, refuses what is malformed, and answers.

    The first law holds already here: of a stranger's request not even the body is read. No traceback gets out.
    """

    def __init__(
        self,
        handler: _Handler[_Payload],
        decoder: Decoder[Envelope[_Payload]],
        *,
        verifier: CallerVerifier,
        origins: Origins,
        log: EventLog,
        streamer: _Streamer[_Payload] | None = None,
    ) -> None:
        self._handler = handler
        self._streamer = streamer or self._whole
        self._verifier = verifier
        self._decoder = decoder
        self._origins = origins
        self._refusals = Refusals(log)
        self._bodies = Bodies()
        self._app: ASGIApp = origins.around(self._serve)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id, incoming = random_hex(8), headers_of(scope)
        as_events = "text/event-stream" in incoming.get("accept", "")
        try:
            call = await self._call(scope["method"], incoming, receive)
        except ClientDisconnect:
            return
        except Exception as exc:
            await _send(send, *self._refusal(exc, request_id), request_id, as_event=as_events)
            return
        if as_events:
            headers = {"x-request-id": request_id, "cache-control": "no-store"}
            await send_events(self._events(call, request_id), receive=receive, send=send, headers=headers)
            return
        await _send(send, *await self._response(call, request_id), request_id)

    async def _call(self, method: str, headers: Mapping[str, str], receive: Receive) -> Call[_Payload]:
        """Find out who asks for what.

        Raises:
            GateError: nobody who may, or nothing that can be understood.
        """
        self._origins.check(headers)
        if method != "POST":
            raise InvalidRequestError(f"{method} is not allowed here; callables are called by POST")
        check_is_json(headers)
        caller = await self._verifier.verify(credentials_of(headers))
        body = await self._bodies.read(receive)
        return Call(caller=caller, payload=self._decode(body), size_bytes=len(body))

    async def _response(self, call: Call[_Payload], request_id: str) -> tuple[bytes, GateError | None]:
        try:
            return msgspec.json.encode({"result": await self._handler(call)}), None
        except Exception as exc:
            return self._refusal(exc, request_id)

    async def _events(self, call: Call[_Payload], request_id: str) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._streamer(call)) as steps:
                async for step in steps:
                    yield msgspec.json.encode(step)
        except Exception as exc:
            yield self._refusal(exc, request_id)[0]

    async def _whole(self, call: Call[_Payload]) -> AsyncGenerator[dict[str, Any], None]:
        yield {"result": await self._handler(call)}

    def _refusal(self, exc: Exception, request_id: str) -> tuple[bytes, GateError]:
        """Return what a client is told of an error, and put what it is not told into the log."""
        error = exc if isinstance(exc, GateError) else GateError(public_message="INTERNAL")
        try:
            body = msgspec.json.encode(error_json(error))
        except UnicodeEncodeError as unwritable:
            return self._refusal(unwritable, request_id)
        self._refusals.tell(exc, request_id)
        return body, error

    def _decode(self, body: bytes) -> _Payload:
        return decoded(body, self._decoder).data


async def _send(send: Send, body: bytes, error: GateError | None, request_id: str, *, as_event: bool = False) -> None:
    """Answer as JSON with its status; or, for who wants events, as one event."""
    kind, status = _JSON, error.http_status if error else 200
    if as_event:
        kind, status, body = _EVENTS, 200, b"data: " + body + b"\n\n"
    headers = [
        (b"x-request-id", request_id.encode()),
        (b"cache-control", b"no-store"),
        (b"content-length", b"%d" % len(body)),
        (b"content-type", kind),
    ]
    if error and not as_event and "retry_after_seconds" in error.details:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.details["retry_after_seconds"]))))
    # Not by Starlette's Response, whose making takes longer than the sending.
    head = {"type": "http.response.start", "status": status, "headers": headers}
    await send_at_once(send, head, {"type": "http.response.body", "body": body})
