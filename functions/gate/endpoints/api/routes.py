"""What a route is: one table of them is served, is described by the OpenAPI document, and is walked by tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from gate.domain.meter import Remaining
from gate.errors import GateError
from gate.ports import Caller


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a route's handler is given."""

    caller: Caller
    path: Mapping[str, str]
    """What stands in the path's braces."""
    payload: Any
    """The body, as the route's request type; None if it takes none."""
    idempotency_key: str | None
    size_bytes: int
    """Of the request's body."""
    request_id: str


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer at once."""

    body: Any
    """Of the route's response type."""
    quota: tuple[Remaining, ...] = ()


Events = AsyncGenerator[bytes, None]
"""Each is what one `data` line holds. A refusal is raised, before the first one or later."""

Handler = Callable[[Asked], Awaitable[Reply | Events]]


class ErrorShape(Protocol):
    """How one family of routes words its errors."""

    struct: type[Any]
    """What a client reads."""

    def body(self, error: GateError) -> Any:
        """Return an error as its struct."""
        ...


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path."""

    method: str
    path: str
    """With what varies in braces; `{name:path}` takes slashes too."""
    name: str
    """Of the operation, in the OpenAPI document."""
    summary: str
    request: Any = None
    """The type of its JSON body; None if it takes none."""
    response: Any = None
    """The type of its answer."""
    handler: Handler
    errors: ErrorShape
    holds: bool
    """Whether it holds a job. One that does not is free, and finds out itself whether an API token still lives."""
    streams: bool = False
    """Whether a request may ask for events instead of one answer."""
    hints: Mapping[str, str] = msgspec.field(default_factory=dict)
    """What to add to a complaint about a field, by the beginning of its path."""
