"""What one Firestore commit may consist of, in the gate's own words; `_firestore_wire` turns it into the SDK's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gate.domain.meter import Key, Move
from gate.errors import LedgerError

SCHEMA_VERSION = {"schema_version": 1}
"""Every document carries it, so that a later layout can tell an older one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Make a document that must not exist yet."""

    path: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Change fields of a document that must still be at this version."""

    path: str
    fields: Mapping[str, Any]
    version: str
    forget: Sequence[str] = ()
    """Names of fields to delete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """Change fields of a document that must be there, at whichever version."""

    path: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Write a whole document, whatever was there before."""

    path: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Remove a document that must still be at this version; without one, it must only be there."""

    path: str
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Move counters of one account, which comes into being if need be, and delete the fields to forget."""

    account: str
    moves: Sequence[Move]
    forget: Sequence[tuple[str, ...]] = ()
    version: str | None = None
    """At which the account must still be; empty means that it must not exist, and None that it does not matter."""


Write = Create | Update | Touch | Replace | Delete | Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A commit that took."""

    version: str
    """Of the document that its first write is about."""
    sums: Mapping[Key, int] = field(default_factory=dict)
    """Each moved counter after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A document as it was read."""

    name: str
    fields: dict[str, Any]
    version: str


class PreconditionError(LedgerError):
    """A document was not as a write demands, so nothing of the commit took."""
