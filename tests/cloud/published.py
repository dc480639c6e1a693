"""What RunPod has published of its answers, and a transport that holds the fake cloud's to it.

The management API's schemas are the part of RunPod's OpenAPI document that Twohop uses. Of the job API there is no
such document; its schemas here follow RunPod's page "Endpoint operations" and its Go SDK (pkg/sdk/endpoint/types.go).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs

_DOCUMENT: dict[str, Any] = json.loads(Path(__file__).with_name("runpod_openapi.json").read_text("utf-8"))
_MILLISECONDS = {"type": "integer", "minimum": 0}
_STATUS = ["IN_QUEUE", "IN_PROGRESS", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]
_JOB = {
    "type": "object",
    "required": ["id", "status"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "status": {"enum": _STATUS},
        "delayTime": _MILLISECONDS,
        "executionTime": _MILLISECONDS,
        "retries": {"type": "integer", "minimum": 0},
        "output": {},
        "error": {"type": "string"},
    },
}
_STREAM = {
    "type": "object",
    "required": ["status", "stream"],
    "properties": {
        "status": {"enum": _STATUS},
        "stream": {"type": "array", "items": {"type": "object", "required": ["output"]}},
    },
}
_COUNTS = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}
_HEALTH = {
    "type": "object",
    "required": ["jobs", "workers"],
    "properties": {
        "jobs": {**_COUNTS, "required": ["completed", "failed", "inProgress", "inQueue", "retried"]},
        "workers": {**_COUNTS, "required": ["idle", "running"]},
    },
}
_PURGED = {"type": "object", "required": ["removed", "status"], "properties": {"removed": {"type": "integer"}}}


def _published(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": _DOCUMENT["components"]}


_ANSWERS: list[tuple[str, dict[str, Any]]] = [
    (r"POST /v2/[^/]+/run(sync)?", _JOB),
    (r"GET /v2/[^/]+/status/.+", _JOB),
    (r"POST /v2/[^/]+/(cancel|retry)/.+", _JOB),
    (r"GET /v2/[^/]+/stream/.+", _STREAM),
    (r"GET /v2/[^/]+/health", _HEALTH),
    (r"POST /v2/[^/]+/purge-queue", _PURGED),
    (r"(GET|PATCH) /v2/serverless/[^/]+", _published("Endpoint")),
    (r"GET /v2/serverless/[^/]+/workers", _published("ListEndpointWorkersResponse")),
    (r"GET /v2/billing/serverless", _published("ListServerlessBillingResponse")),
]
_VALIDATORS = [(re.compile(route), jsonschema_rs.validator_for(schema)) for route, schema in _ANSWERS]
_REQUEST = jsonschema_rs.validator_for(_published("UpdateEndpointRequest"))


class Published(httpx.AsyncBaseTransport):
    """Another transport whose every good answer must be what RunPod has published."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.checked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        content = await response.aread()
        route = f"{request.method} {request.url.path}"
        if request.method == "PATCH":
            _REQUEST.validate(json.loads(request.content))
        if response.is_success and request.url.path != "/graphql":
            [validator] = [validator for pattern, validator in _VALIDATORS if pattern.fullmatch(route)]
            validator.validate(json.loads(content))
            self.checked.append(route)
        return httpx.Response(response.status_code, headers=response.headers, content=content)
