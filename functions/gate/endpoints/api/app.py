"""The HTTP routes as one ASGI app: origin, route, caller, body, handler; each refusal in its route's shape."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec.json import Decoder
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gate.endpoints.api.errors import (
    JOB_HEADER,
    RATE_HEADERS,
    RETRY_HEADER,
    OpenAIErrors,
    RouteNotFoundError,
    error_headers,
    rate_headers,
)
from gate.endpoints.api.routes import Asked, ErrorShape, Events, Reply, Route
from gate.endpoints.entrance import Entrance
from gate.endpoints.event_stream import left, send_events
from gate.endpoints.incoming import Bodies, check_is_json, credentials_of, decoded
from gate.endpoints.refusals import Refusals
from gate.errors import GateError, InvalidRequestError
from gate.ports import Clock
from gate.random_text import random_hex

_FIRST_EVENT_SECONDS = 10.0
"""A refusal comes sooner, and is then an HTTP error. After that the answer begins, so that no proxy hangs up."""
_KEY_CHARS_MAX = 200
_BRACES = re.compile(r"\{(\w+)(?::(path))?\}")
_STAINLESS = tuple(
    f"x-stainless-{name}"
    for name in (
        *("arch", "async", "helper-method", "lang", "os", "package-version"),
        *("read-timeout", "retry-count", "runtime", "runtime-version", "timeout"),
    )
)
"""What OpenAI's own client says of itself; a browser asks whether it may."""


class _Served(msgspec.Struct, frozen=True, kw_only=True):
    """A route, made ready."""

    route: Route
    pattern: re.Pattern[str]
    decoder: Decoder[Any] | None


class HttpApi:
    """An ASGI app of a table of routes.

    Args:
        routes: what is served.
        free: makes the documents that anybody may read, as JSON, by path. Each is made when it is first asked for.
        entrance: who may come in.
        clock: says when a limit starts anew.
    """

    def __init__(
        self, routes: Iterable[Route], *, free: Mapping[str, Callable[[], bytes]], entrance: Entrance, clock: Clock
    ) -> None:
        self.routes = tuple(routes)
        self._served = [_made_ready(route) for route in self.routes]
        self._free = {path: cache(make) for path, make in free.items()}
        self._entrance = entrance
        self._clock = clock
        self._bodies = Bodies()
        self._refusals = Refusals(entrance.log)
        self._app: ASGIApp = entrance.origins.around(
            self._serve,
            methods=("GET", "POST"),
            headers=("idempotency-key", "user-agent", *_STAINLESS),
            exposed=("x-request-id", JOB_HEADER, RETRY_HEADER, *RATE_HEADERS),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, request_id = Request(scope, receive), random_hex(8)
        headers = {"x-request-id": request_id, "cache-control": "no-store"}
        shape: ErrorShape = OpenAIErrors()
        try:
            self._entrance.origins.check(request.headers)
            if request.method == "GET" and request.scope["path"] in self._free:
                body = self._free[request.scope["path"]]()
                await Response(body, headers=headers, media_type="application/json")(scope, receive, send)
                return
            served, path = self._found(request)
            shape = served.route.errors
            asked = await self._asked(request, served, path, request_id)
            reply = await served.route.handler(asked)
            if isinstance(reply, Reply):
                headers |= rate_headers(reply.quota, now=self._clock.now())
                response = Response(msgspec.json.encode(reply.body), headers=headers, media_type="application/json")
            else:
                await self._stream(reply, shape, request_id, headers, receive=receive, send=send)
                return
        except ClientDisconnect:
            return
        except Exception as exc:
            response = self._refusal(exc, shape, request_id, headers)
        await response(scope, receive, send)

    def _found(self, request: Request) -> tuple[_Served, dict[str, str]]:
        path = request.scope["path"]
        there = [(served, found) for served in self._served if (found := served.pattern.fullmatch(path))]
        for served, found in there:
            if served.route.method == request.method:
                return served, found.groupdict()
        if not there:
            raise RouteNotFoundError(f"no route {request.method} {path[:100]!r}")
        allowed = ", ".join(sorted(served.route.method for served, _ in there))
        raise InvalidRequestError(
            f"{request.method[:20]} is not allowed here; this address takes {allowed}", details={"allow": allowed}
        )

    async def _asked(self, request: Request, served: _Served, path: Mapping[str, str], request_id: str) -> Asked:
        """Find out who asks for what. Of a stranger's request not even the body is read."""
        entrance = self._entrance
        verifier = entrance.verifier if served.route.holds else entrance.live_verifier
        caller = await verifier.verify(credentials_of(request.headers))
        key = _idempotency_key(request)
        payload, size_bytes = None, 0
        if served.decoder:
            check_is_json(request.headers)
            body = await self._bodies.read(request.receive)
            payload, size_bytes = _payload(body, served), len(body)
        return Asked(
            caller=caller,
            path=path,
            payload=payload,
            idempotency_key=key,
            size_bytes=size_bytes,
            request_id=request_id,
        )

    async def _stream(
        self,
        events: Events,
        shape: ErrorShape,
        request_id: str,
        headers: dict[str, str],
        *,
        receive: Receive,
        send: Send,
    ) -> None:
        """Answer by events. What is refused at once is raised, and so gets its own status."""
        first = await _begun(events, receive)
        if first is None:
            return
        await send_events(self._told(first, events, shape, request_id), receive=receive, send=send, headers=headers)

    async def _told(
        self, first: asyncio.Future[bytes], events: Events, shape: ErrorShape, request_id: str
    ) -> AsyncGenerator[bytes, None]:
        try:
            yield await first
            async for event in events:
                yield event
        except Exception as exc:
            yield msgspec.json.encode(shape.body(self._told_of(exc, request_id)))
        finally:
            first.cancel()
            await events.aclose()

    def _refusal(self, exc: Exception, shape: ErrorShape, request_id: str, headers: dict[str, str]) -> Response:
        error = self._told_of(exc, request_id)
        status, more = error.http_status, error_headers(error)
        if "allow" in error.details:
            status, more = 405, {"allow": error.details["allow"]}
        return Response(
            msgspec.json.encode(shape.body(error)),
            status_code=status,
            headers={**headers, **more},
            media_type="application/json",
        )

    def _told_of(self, exc: Exception, request_id: str) -> GateError:
        """Put what a client is not told into the log, and return what it is told."""
        self._refusals.tell(exc, request_id)
        return exc if isinstance(exc, GateError) else GateError()


async def _begun(events: Events, receive: Receive) -> asyncio.Future[bytes] | None:
    """Wait a while for the first event, and return it or its future; None if the client went away meanwhile.

    Raises:
        GateError: it was refused.
    """
    first: asyncio.Future[bytes] = asyncio.ensure_future(_first(events))
    leaving = asyncio.ensure_future(left(receive))
    try:
        waiting = (first, leaving)
        await asyncio.wait(waiting, timeout=_FIRST_EVENT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if first.done():
            first.result()
            return first
        if not leaving.done():
            return first
    except asyncio.CancelledError:
        first.cancel()
        raise
    finally:
        leaving.cancel()
    first.cancel()
    await asyncio.wait((first,))
    return None


async def _first(events: Events) -> bytes:
    return await anext(events)


def _made_ready(route: Route) -> _Served:
    pattern = "".join(
        f"(?P<{name}>{'.+' if kind else '[^/]+'})" if name else re.escape(text)
        for text, name, kind in _pieces(route.path)
    )
    decoder = None if route.request is None else Decoder(route.request)
    return _Served(route=route, pattern=re.compile(pattern, re.DOTALL), decoder=decoder)


def _pieces(path: str) -> Iterable[tuple[str, str, str]]:
    """Yield a path's fixed texts and its variable names, in order."""
    at = 0
    for found in _BRACES.finditer(path):
        yield path[at : found.start()], "", ""
        yield "", found[1], found[2] or ""
        at = found.end()
    yield path[at:], "", ""


def _payload(body: bytes, served: _Served) -> Any:
    assert served.decoder
    try:
        return decoded(body, served.decoder)
    except InvalidRequestError as exc:
        for path, hint in served.route.hints.items():
            if f"at `{path}" in exc.public_message:
                raise InvalidRequestError(f"{hint} {exc.public_message}") from exc
        raise


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key", "").strip()
    if len(key) > _KEY_CHARS_MAX:
        raise InvalidRequestError(f"Idempotency-Key has {len(key)} characters, and may have {_KEY_CHARS_MAX}")
    return key or None
