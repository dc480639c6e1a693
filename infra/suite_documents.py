"""The owner's documents in the suite's Firestore, written as the owner would write them in the console."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import msgspec

from gate import plan
from infra.suite import HOST, PROJECT, Suite


def write_document(suite: Suite, path: str, document: Mapping[str, object]) -> None:
    """Create a document as the owner would in the console, or replace the whole of it; rules do not apply."""
    url = f"http://{HOST}:{suite.ports.firestore}/v1/projects/{PROJECT}/databases/(default)/documents/{path}"
    body = {"fields": {name: _firestore_value(value) for name, value in document.items()}}
    answer = httpx.patch(url, json=body, headers={"authorization": "Bearer owner"}, timeout=30)
    answer.raise_for_status()


def write_starter_documents(suite: Suite) -> None:
    """Write the plans and the configuration that a new project begins with."""
    for name, starter in plan.STARTER_PLANS.items():
        write_document(suite, f"plans/{name}", msgspec.to_builtins(starter))
    write_document(suite, "gate/config", msgspec.to_builtins(plan.STARTER_CONFIG))


def _firestore_value(value: object) -> dict[str, object]:
    """Return a value as Firestore's REST interface writes it."""
    match value:
        case bool():
            return {"booleanValue": value}
        case int():
            return {"integerValue": str(value)}
        case str():
            return {"stringValue": value}
        case list() | tuple():
            return {"arrayValue": {"values": [_firestore_value(each) for each in value]}}
        case dict():
            return {"mapValue": {"fields": {str(name): _firestore_value(each) for name, each in value.items()}}}
        case _:
            raise TypeError(f"{value!r} has no place in these documents")
