"""One exchange over HTTP: reading a signed request, running it, noticing that its client left, and answering.

A short job takes less time than a library's view of its request and its answer would, so these speak ASGI itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from gate import wire
from worker.batching.request import Sink
from worker.encoding import encode
from worker.errors import InputError, TooSlowError, UnauthenticatedError, UnavailableError, UnfinishedError
from worker.http.door import Door
from worker.jobs.service import Service, too_large

_STATUS = {InputError.code: InputError.http_status, UnavailableError.code: UnavailableError.http_status}
_RETRY_SECONDS = b"2"
_LEFT = "http.disconnect"


async def answer_in_time(
    service: Service, door: Door, request: wire.SignedRequest, sink: Sink | None = None
) -> wire.WorkResult:
    """Run an admitted request, as a task, and return its result; once the worker gives it up, that there is none."""
    task = asyncio.current_task()
    assert task is not None
    if door.gave_up():
        return service.refuse(UnfinishedError())
    door.on_given_up(task.cancel)
    try:
        return await service.answer(request, sink)
    except asyncio.CancelledError:
        # Whoever else cancels it wants no answer.
        if door.gave_up() and not task.uncancel():
            return service.refuse(UnfinishedError())
        raise
    finally:
        door.forget(task.cancel)


def read_headers(scope: Scope) -> dict[str, str]:
    """Return a request's headers by their names in lower case; of those that come twice, the last."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def signed_request(headers: Mapping[str, str], body: bytes) -> wire.SignedRequest:
    """Return a body with the proof of where it comes from, unchecked.

    Raises:
        UnauthenticatedError: there is none.
    """
    try:
        return wire.SignedRequest.from_headers(headers, body)
    except wire.SignatureError as exc:
        raise UnauthenticatedError(str(exc)) from exc


async def left(receive: Receive) -> None:
    """Return once the client has hung up."""
    while (await receive())["type"] != _LEFT:
        pass


async def read_in_time(headers: Mapping[str, str], receive: Receive, *, bytes_max: int, seconds_max: float) -> bytes:
    """Read a body, and stop reading as soon as it is known to be too large.

    Raises:
        TooSlowError: it does not come.
        TooLargeError: there is too much of it.
        ClientDisconnect: the client has hung up.
    """
    said = headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > bytes_max:
        raise too_large(bytes_max)
    try:
        async with asyncio.timeout(seconds_max):
            return await _read(receive, bytes_max)
    except TimeoutError as exc:
        raise TooSlowError(f"the request's body did not come within {seconds_max:g} seconds") from exc


async def _read(receive: Receive, bytes_max: int) -> bytes:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == _LEFT:
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > bytes_max:
            raise too_large(bytes_max)
        more = message.get("more_body", False)
    return bytes(body)


def respond_result(result: wire.WorkResult) -> ASGIApp:
    """Answer with a result, by the status that goes with it."""
    status = _STATUS.get(result.failure.code, 500) if result.failure else 200
    return respond(status, encode(result.to_json()))


def respond(status: int, content: bytes) -> ASGIApp:
    """Answer with JSON, and say when to come back where that may help."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    if status == UnavailableError.http_status:
        headers.append((b"retry-after", _RETRY_SECONDS))

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return answer
