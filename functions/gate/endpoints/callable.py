"""A door that speaks the Firebase callable protocol, so that the unmodified Firebase SDKs are its clients.

Request: `POST`, JSON, `{"data": …}`. Answer: `{"result": …}`, or an HTTP status of 400 or more and
`{"error": {status, message, details}}`.
A client that asks for `text/event-stream` gets events with status 200: `{"message": …}` for each part, and at the end
`{"result": …}` or `{"error": …}`. Refusals too: the JS SDK's `.stream()` looks at nothing else, and would wait for
ever.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.json import Decoder
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gate.endpoints.answers import error_json
from gate.endpoints.cors import Origins
from gate.endpoints.event_stream import send_events
from gate.endpoints.incoming import BODIES_MAX, check_is_json, credentials_of, decoded, read_body
from gate.errors import GateError, InvalidRequestError
from gate.log import EventLog
from gate.ports import Caller, CallerVerifier

_Payload = TypeVar("_Payload")


class Envelope(msgspec.Struct, Generic[_Payload], frozen=True, forbid_unknown_fields=True):
    """The body of a callable's request."""

    data: _Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[_Payload]):
    """What a handler is given."""

    caller: Caller
    payload: _Payload
    size_bytes: int
    """Of the request's body."""


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
        self._log = log
        self._reading = asyncio.Semaphore(BODIES_MAX)
        self._app: ASGIApp = origins.around(self._serve)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, request_id = Request(scope, receive), secrets.token_hex(8)
        headers = {"x-request-id": request_id, "cache-control": "no-store"}
        try:
            call = await self._call(request)
        except ClientDisconnect:
            return
        except Exception as exc:
            body, error = self._refusal(exc, request_id)
            await _respond(body, error, headers, scope=scope)(scope, receive, send)
            return
        if _wants_events(scope):
            await send_events(self._events(call, request_id), receive=receive, send=send, headers=headers)
            return
        response = await self._response(call, request_id, headers)
        await response(scope, receive, send)

    async def _call(self, request: Request) -> Call[_Payload]:
        """Find out who asks for what.

        Raises:
            GateError: nobody who may, or nothing that can be understood.
        """
        self._origins.check(request)
        _check_head(request)
        caller = await self._verifier.verify(credentials_of(request))
        async with self._reading:
            body = await read_body(request)
            return Call(caller=caller, payload=self._decode(body), size_bytes=len(body))

    async def _response(self, call: Call[_Payload], request_id: str, headers: Mapping[str, str]) -> Response:
        try:
            return _respond(msgspec.json.encode({"result": await self._handler(call)}), None, headers)
        except Exception as exc:
            return _respond(*self._refusal(exc, request_id), headers)

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
        if isinstance(exc, GateError):
            try:
                body = msgspec.json.encode(error_json(exc))
            except UnicodeEncodeError as unwritable:
                return self._refusal(unwritable, request_id)
            self._log.info(
                "request.refused", request_id=request_id, code=exc.code, error=type(exc).__name__, reason=str(exc)
            )
            return body, exc
        # A bug, or an answer that cannot be written as JSON.
        self._log.error("request.failed", request_id=request_id, traceback="".join(traceback.format_exception(exc)))
        error = GateError(public_message="INTERNAL")
        return msgspec.json.encode(error_json(error)), error

    def _decode(self, body: bytes) -> _Payload:
        return decoded(body, self._decoder).data


def _check_head(request: Request) -> None:
    if request.method != "POST":
        raise InvalidRequestError(f"{request.method} is not allowed here; callables are called by POST")
    check_is_json(request)


def _wants_events(scope: Scope) -> bool:
    return "text/event-stream" in Headers(scope=scope).get("accept", "")


def _respond(
    body: bytes, error: GateError | None, headers: Mapping[str, str], *, scope: Scope | None = None
) -> Response:
    """Return an answer as one event if the request of this scope wants events, else as JSON with its status."""
    if scope and _wants_events(scope):
        return Response(b"data: " + body + b"\n\n", headers=dict(headers), media_type="text/event-stream")
    retry = {}
    if error and "retry_after_seconds" in error.details:
        retry["retry-after"] = str(max(1, math.ceil(error.details["retry_after_seconds"])))
    status = error.http_status if error else 200
    return Response(body, status_code=status, headers={**headers, **retry}, media_type="application/json")
