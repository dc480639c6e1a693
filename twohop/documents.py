"""Changing the owner's documents by hand without ever writing a malformed one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gate.domain.plan import parse
from twohop.errors import BadInputError

_SCHEMA_VERSION = "schema_version"


def field_names(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the names of a document's fields, in order."""
    return kind.__struct_fields__


def as_document(value: msgspec.Struct) -> dict[str, Any]:
    """Return a document's fields as a ledger keeps them."""
    fields: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return fields


def without_version(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document without the ledger's own mark of its layout."""
    return {name: value for name, value in document.items() if name != _SCHEMA_VERSION}


def problems(kind: type[msgspec.Struct], document: Mapping[str, Any]) -> list[str]:
    """Return all that is wrong with a document, each naming its field; `plan.parse` stops at the first."""
    unknown = [name for name in without_version(document) if name not in field_names(kind)]
    return [
        *(f"{name} is no field" for name in unknown),
        *(problem for field in msgspec.structs.fields(kind) if (problem := _problem(field, document))),
    ]


def changed(
    kind: type[msgspec.Struct], stored: Mapping[str, Any], changes: Mapping[str, Any], path: str
) -> dict[str, Any]:
    """Return a document with changes made. Fields that it may not have are left out; wrong ones must be in `changes`.

    Raises:
        BadInputError: it would be malformed; the message says everything that is wrong with it.
    """
    after = {name: value for name, value in {**stored, **changes}.items() if name in field_names(kind)}
    wrong = problems(kind, after)
    if wrong:
        raise BadInputError(f"{path} would be malformed: {'; '.join(wrong)}; give these as FIELD=VALUE")
    parse(kind, after, path)
    return after


def _problem(field: msgspec.structs.FieldInfo, document: Mapping[str, Any]) -> str:
    if field.name not in document:
        return f"{field.name} is missing" if field.required else ""
    try:
        msgspec.convert(document[field.name], field.type)
    except msgspec.ValidationError as exc:
        return f"{field.name}: {exc}"
    return ""
