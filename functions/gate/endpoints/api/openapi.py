"""The OpenAPI document, made of the very types that requests are decoded to and answers are encoded from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gate.endpoints.api.callable_shapes import CALLABLES, CallableErrorBody
from gate.endpoints.api.errors import JOB_HEADER, JobGoesOnError
from gate.endpoints.api.routes import Route
from gate.errors import GateError, InvalidRequestError

_BRACES = re.compile(r"\{(\w+)(?::path)?\}")
_JSON = "application/json"
_EVENTS = "text/event-stream"
_TITLE = "Twohop"
_ABOUT = (
    "A model behind its owner's sign-in. Every request is counted before it runs; the credential is a Firebase ID "
    "token, or an API token (`th_…`)."
)


def openapi_document(routes: Iterable[Route], *, callables_url: str) -> bytes:
    """Return the document, as JSON.

    Args:
        routes: the HTTP routes.
        callables_url: where the Firebase callables are; relative to the document, or whole.
    """
    routes = tuple(routes)
    operations = [_of_route(route) for route in routes]
    operations += [_of_callable(name, callables_url) for name in CALLABLES]
    types = [kind for operation in operations for kind in operation.types]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        item = paths.setdefault(operation.path, {})
        item[operation.method] = operation.described(by_type)
        if operation.server:
            item["servers"] = [{"url": operation.server}]
    document = {
        "openapi": "3.1.0",
        "info": {"title": _TITLE, "version": "1", "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


class _Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the document."""

    path: str
    method: str
    name: str
    summary: str
    request: Any
    response: Any
    error: Any
    wrapped: bool = False
    """Whether it is a callable, whose payload is in `data` and whose answer is in `result`."""
    parameters: list[dict[str, Any]] = msgspec.field(default_factory=list)
    streams: bool = False
    server: str = ""

    @property
    def types(self) -> list[Any]:
        """Every type that the entry speaks of."""
        return [kind for kind in (self.request, self.response, self.error) if kind is not None]

    def described(self, schemas: Mapping[int, Any]) -> dict[str, Any]:
        """Return the entry, given the schema of each type."""
        answer = schemas[id(self.response)] if self.response else {}
        success: dict[str, Any] = {_JSON: {"schema": _wrapped(answer, "result") if self.wrapped else answer}}
        if self.streams:
            success[_EVENTS] = {"schema": {"type": "string"}}
        entry: dict[str, Any] = {"operationId": self.name, "summary": self.summary}
        if self.parameters:
            entry["parameters"] = self.parameters
        if self.request is not None:
            asked = schemas[id(self.request)]
            asked = _wrapped(asked, "data") if self.wrapped else asked
            entry["requestBody"] = {"required": True, "content": {_JSON: {"schema": asked}}}
        refusal = {_JSON: {"schema": schemas[id(self.error)]}}
        entry["responses"] = {"200": {"description": "Done.", "content": success}} | {
            str(status): {"description": text, "content": refusal} for status, text in _refusals().items()
        }
        if not self.wrapped:
            late = entry["responses"][str(JobGoesOnError.http_status)]
            late["headers"] = {JOB_HEADER: {"schema": {"type": "string"}}}
        return entry


def _of_route(route: Route) -> _Operation:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _BRACES.findall(route.path)
    ]
    if route.holds:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The same key with the same body is the same job, answered again and counted once.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
            }
        )
    return _Operation(
        path=_BRACES.sub(r"{\1}", route.path),
        method=route.method.lower(),
        name=route.name,
        summary=route.summary,
        request=route.request,
        response=route.response,
        error=route.errors.struct,
        parameters=parameters,
        streams=route.streams,
    )


def _of_callable(name: str, server: str) -> _Operation:
    shape = CALLABLES[name]
    return _Operation(
        path=f"/{name}",
        method="post",
        name=name,
        summary=shape.summary,
        request=shape.request,
        response=shape.response,
        error=CallableErrorBody,
        wrapped=True,
        server=server,
    )


def _wrapped(schema: Any, name: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: schema}, "required": [name], "additionalProperties": False}


def _refusals() -> dict[int, str]:
    """Return every status that an error of ours has, with the words of the first class that has it."""
    found: dict[int, str] = {}
    waiting: list[type[GateError]] = [InvalidRequestError, GateError]
    while waiting:
        kind = waiting.pop(0)
        found.setdefault(kind.http_status, kind.default_message)
        waiting += kind.__subclasses__()
    return dict(sorted(found.items()))
