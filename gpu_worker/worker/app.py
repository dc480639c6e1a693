"""The HTTP front's routes.

    POST /infer     a signed request: the body as it was signed, the rest in `x-twohop-…` headers
    GET  /healthz   the process is alive
    GET  /readyz    the model is loaded and jobs are taken

`/infer` answers a `wire.WorkResult`: 200 with outputs; 401 not signed or stale; 408 its body does not come; 409 sent
before; 413 too many bytes; 422 the input is at fault; 500 the worker failed; 503, with Retry-After, not now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from gate import wire
from worker.door import Door
from worker.encoding import encode
from worker.errors import InputError, RefusedError, TooSlowError, UnauthenticatedError, UnavailableError
from worker.service import Service, too_large

_STATUS = {InputError.code: InputError.http_status, UnavailableError.code: UnavailableError.http_status}
_RETRY_SECONDS = 2


def make_app(service: Service, door: Door, *, body_bytes_max: int, body_seconds_max: float = 30) -> FastAPI:
    """Return the app. It publishes no schema and no documentation page: it is not for people."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> Response:
        status = door.closed_because or "ready"
        return _respond(200 if status == "ready" else 503, encode({"status": status}))

    @app.post("/infer")
    async def infer(request: Request) -> Response:
        try:
            # The door comes first: a request that is sent back unread can be sent again with the same signature.
            with door.enter():
                body = await _read_in_time(request, body_bytes_max, body_seconds_max)
                return await _infer(request, body, service)
        except RefusedError as exc:
            return _respond(exc.http_status, encode(service.refuse(exc).to_json()))
        except ClientDisconnect:
            return Response(status_code=400)  # Nobody reads it.

    return app


async def _infer(request: Request, body: bytes, service: Service) -> Response:
    try:
        signed = wire.SignedRequest.from_headers(dict(request.headers), body)
    except wire.SignatureError as exc:
        raise UnauthenticatedError(str(exc)) from exc
    service.admit(signed)
    result = await _while_connected(request, service.answer(signed))
    status = _STATUS.get(result.failure.code, 500) if result.failure else 200
    # A long answer takes a while to write, and others want to be answered meanwhile.
    return _respond(status, await asyncio.to_thread(encode, result.to_json()))


async def _while_connected(request: Request, answer: Coroutine[Any, Any, wire.WorkResult]) -> wire.WorkResult:
    """Wait for a job's result, and drop the job if its client goes away before its turn.

    Raises:
        ClientDisconnect: it did.
    """
    answering, leaving = asyncio.create_task(answer), asyncio.create_task(_left(request))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise ClientDisconnect
        return answering.result()
    finally:
        answering.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read_in_time(request: Request, bytes_max: int, seconds_max: float) -> bytes:
    try:
        async with asyncio.timeout(seconds_max):
            return await _read(request, bytes_max)
    except TimeoutError as exc:
        raise TooSlowError(f"the request's body did not come within {seconds_max:g} seconds") from exc


async def _read(request: Request, bytes_max: int) -> bytes:
    """Read a body, and stop reading as soon as it is known to be too large.

    Raises:
        TooLargeError: it is.
    """
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > bytes_max:
        raise too_large(bytes_max)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise too_large(bytes_max)
    return bytes(body)


def _respond(status: int, content: bytes) -> Response:
    headers = {"Retry-After": str(_RETRY_SECONDS)} if status == UnavailableError.http_status else {}
    return Response(content, status_code=status, headers=headers, media_type="application/json")
