"""What one Firestore commit may consist of, in the gate's own words; `_firestore_wire` turns it into the SDK's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gate.domain.meter import Key, Move
from gate.errors import LedgerError

SCHEMA_VERSION = {"schema_version": 1}
"""Every document carries it, so that a later layout can tell an older one."""


class Create(msgspec.Struct, frozen=True, kw_only=True):
    """Make a document that must not exist yet."""

    path: str
    fields: Mapping[str, Any]


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """Change fields of a document that must still be at this version."""

    path: str
    fields: Mapping[str, Any]
    version: str
    forget: Sequence[str] = ()
    """Names of fields to delete."""


class Touch(msgspec.Struct, frozen=True, kw_only=True):
    """Change fields of a document that must be there, at whichever version."""

    path: str
    fields: Mapping[str, Any]


class Replace(msgspec.Struct, frozen=True, kw_only=True):
    """Write a whole document, whatever was there before."""

    path: str
    fields: Mapping[str, Any]


class Delete(msgspec.Struct, frozen=True, kw_only=True):
    """Remove a document that must still be at this version; without one, it must only be there."""

    path: str
    version: str | None = None


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Move counters of one account, which comes into being if need be, and delete the fields to forget."""

    account: str
    moves: Sequence[Move]
    forget: Sequence[tuple[str, ...]] = ()
    version: str | None = None
    """At which the account must still be; empty means that it must not exist, and None that it does not matter."""


Write = Create | Update | Touch | Replace | Delete | Count


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """A commit that took."""

    version: str
    """Of the document that its first write is about."""
    sums: Mapping[Key, int] = msgspec.field(default_factory=dict)
    """Each moved counter after it."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A document as it was read."""

    name: str
    fields: dict[str, Any]
    version: str


class PreconditionError(LedgerError):
    """A document was not as a write demands, so nothing of the commit took."""
