"""A port beside those of `gate.ports`: documents that come and go, as API tokens do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from gate.ports import Documents


class DocumentStore(Documents, Protocol):
    """Documents that are made, changed and removed one by one."""

    async def create(self, path: str, document: Mapping[str, Any]) -> bool:
        """Make a document. Returns whether it is new; one that was there is left as it is."""
        ...

    async def update(self, path: str, fields: Mapping[str, Any]) -> bool:
        """Replace fields of a document. Returns whether it was there; none is made."""
        ...

    async def delete(self, path: str) -> bool:
        """Remove a document. Returns whether it was there."""
        ...

    async def find(self, collection: str, field: str, value: str, *, limit: int = 1000) -> dict[str, dict[str, Any]]:
        """Return a collection's documents in which a field has a value, by name."""
        ...
