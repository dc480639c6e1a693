"""One exchange over HTTP: reading a signed request, running it, noticing that its client left, and answering."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from gate import wire
from worker.batching.request import Sink
from worker.encoding import encode
from worker.errors import InputError, TooSlowError, UnauthenticatedError, UnavailableError, UnfinishedError
from worker.http.door import Door
from worker.jobs.service import Service, too_large

_STATUS = {InputError.code: InputError.http_status, UnavailableError.code: UnavailableError.http_status}
_RETRY_SECONDS = 2


async def answer_in_time(
    service: Service, door: Door, request: wire.SignedRequest, sink: Sink | None = None
) -> wire.WorkResult:
    """Run an admitted request, and return its result; once the worker gives it up, that there is none."""
    try:
        # No limit until the worker gives it up, and then none is left.
        async with asyncio.timeout(None) as limit:
            with door.until_given_up(lambda: limit.reschedule(0)):
                return await service.answer(request, sink)
    except TimeoutError:
        return service.refuse(UnfinishedError())


def signed_request(request: Request, body: bytes) -> wire.SignedRequest:
    """Return a body with the proof of where it comes from, unchecked.

    Raises:
        UnauthenticatedError: there is none.
    """
    try:
        # Starlette's mapping looks through all headers for each that is asked for.
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.raw}
        return wire.SignedRequest.from_headers(headers, body)
    except wire.SignatureError as exc:
        raise UnauthenticatedError(str(exc)) from exc


async def left(request: Request) -> None:
    """Return once the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def read_in_time(request: Request, bytes_max: int, seconds_max: float) -> bytes:
    """Read a body.

    Raises:
        TooSlowError: it does not come.
        TooLargeError: there is too much of it.
    """
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


def respond_result(result: wire.WorkResult) -> Response:
    """Answer with a result, by the status that goes with it."""
    status = _STATUS.get(result.failure.code, 500) if result.failure else 200
    return respond(status, encode(result.to_json()))


def respond(status: int, content: bytes) -> Response:
    """Answer with JSON, and say when to come back where that may help."""
    headers = {"Retry-After": str(_RETRY_SECONDS)} if status == UnavailableError.http_status else {}
    return Response(content, status_code=status, headers=headers, media_type="application/json")
