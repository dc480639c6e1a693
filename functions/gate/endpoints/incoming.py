"""What every door reads of a request, and what it refuses to read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.json import Decoder
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from gate.errors import InvalidRequestError
from gate.ports import Credentials
from gate.time_limit import TimeLimit

BODY_BYTES_MAX = 10_000_000
"""No plan can allow more: it is what the smallest provider queue takes."""
_BODIES_MAX = 16
"""Bodies that are read at the same time: together at most a third of an instance's memory."""
_BODY_SECONDS_MAX = 30.0
"""A body that drips in keeps one of the instance's places, and nobody is known to be asking yet."""
_COMPLAINT_CHARS_MAX = 200

_Decoded = TypeVar("_Decoded")


def headers_of(scope: Scope) -> dict[str, str]:
    """Return a request's headers by their names in lower case; of several with one name, the first."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


def credentials_of(headers: Mapping[str, str]) -> Credentials:
    """Return what a request brought to show who is asking."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else None
    return Credentials(bearer=bearer or None, app_check=headers.get("x-firebase-appcheck") or None)


def check_is_json(headers: Mapping[str, str]) -> None:
    """Refuse what a form of another web page could send without a preflight.

    Raises:
        InvalidRequestError: it says that it is something else.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidRequestError("The request's content-type must be application/json")


class Bodies:
    """Reads the bodies that come to a door: so many at a time, each within a time and a size."""

    def __init__(self, *, seconds_max: float = _BODY_SECONDS_MAX) -> None:
        self._places = asyncio.Semaphore(_BODIES_MAX)
        self._limit = TimeLimit(seconds_max)

    async def read(self, receive: Receive) -> bytes:
        """Read a body, and stop reading as soon as it is too large or too slow.

        Raises:
            InvalidRequestError: it is.
            ClientDisconnect: whoever sent it has gone.
        """
        async with self._places:
            try:
                with self._limit.wait():
                    return await _whole(receive)
            except TimeoutError as exc:
                seconds = f"{self._limit.seconds:g} seconds"
                raise InvalidRequestError(f"The request's body did not come within {seconds}") from exc


async def _whole(receive: Receive) -> bytes:
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise InvalidRequestError(f"The request is larger than {BODY_BYTES_MAX} bytes")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def decoded(body: bytes, decoder: Decoder[_Decoded]) -> _Decoded:
    """Return what a body says.

    Raises:
        InvalidRequestError: it is no JSON, or of another shape; the message tells where.
    """
    try:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as exc:
            if "got `float`" not in str(exc):
                raise
            # To JSON, 1 and 1.0 are one number, and some languages write the second; the decoder takes the first.
            return decoder.decode(msgspec.json.encode(_with_whole_numbers(msgspec.json.decode(body))))
    except msgspec.ValidationError as exc:
        raise InvalidRequestError(f"The request is malformed: {_brief(exc)}") from exc
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise InvalidRequestError(f"The request is not valid JSON: {_brief(exc)}") from exc


def _with_whole_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_with_whole_numbers(one) for one in value]
    if isinstance(value, dict):
        return {name: _with_whole_numbers(one) for name, one in value.items()}
    return value


def _brief(error: Exception) -> str:
    """Return what is wrong, without repeating a field's name of megabytes."""
    return str(error)[:_COMPLAINT_CHARS_MAX]
