"""The one module that speaks to Firestore, by its REST API, on connections that are kept.

The SDK does the same by gRPC, and takes longer to import than the whole of hop 1 and half of its memory (ADR 0008).

Every call states its timeout, and every error ends here: it leaves as `LedgerError`, or as `PreconditionError` if a
commit found a document other than it demands.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any, assert_never
from urllib.parse import quote

import msgspec

from gate.connections import KeptConnections
from gate.domain.meter import Key, Move
from gate.errors import LedgerError
from gate.exchanges import BrokenOffError, ExchangeError, Exchanges, NotSentError, body_of
from gate.ledgers._firestore_access import open_access
from gate.ledgers._firestore_documents import whole
from gate.ledgers._firestore_values import decoded, decoded_fields, encoded, encoded_fields, field_path
from gate.ledgers._firestore_writes import (
    SCHEMA_VERSION,
    Committed,
    Count,
    Create,
    Delete,
    Found,
    PreconditionError,
    Replace,
    Touch,
    Update,
    Write,
)

_TIMEOUT_SECONDS = 10.0
"""Of a call together with its repetitions."""
_PAUSE_SECONDS_FIRST = 0.05
_PAUSE_SECONDS_MAX = 1.0
_CONNECTIONS_MAX = 200
_KEPT_SECONDS = 60.0
_TIMEOUTS = {"connect": 5.0, "read": _TIMEOUT_SECONDS, "write": _TIMEOUT_SECONDS, "pool": _TIMEOUT_SECONDS}

_AGAIN = frozenset({"ABORTED", "UNAVAILABLE", "INTERNAL"})
"""Repeating is safe because every commit that counts carries a precondition, which the first try, if it took, has
made false. An exhausted quota is left out: it does not come back within seconds."""
_REFUSED = frozenset({"ALREADY_EXISTS", "FAILED_PRECONDITION", "NOT_FOUND"})

_OPERATORS = {"==": "EQUAL", "<": "LESS_THAN", "<=": "LESS_THAN_OR_EQUAL", ">": "GREATER_THAN"}
_OPERATORS |= {">=": "GREATER_THAN_OR_EQUAL", "array_contains": "ARRAY_CONTAINS", "in": "IN", "!=": "NOT_EQUAL"}


class _StatusError(Exception):
    """An answer that says no, by a canonical status."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A document that somebody waits for."""

    path: str
    answer: asyncio.Future[Found | None]


class FirestoreWire:
    """Commits, reads and queries of one database. Belongs to the event loop in which it is first used."""

    def __init__(self, *, project: str, database: str, exchanges: Exchanges | None) -> None:
        self._exchanges = exchanges or KeptConnections(connections_max=_CONNECTIONS_MAX, kept_seconds=_KEPT_SECONDS)
        address, self._access = open_access(self._exchanges)
        self._asked: list[_Asked] = []
        self._answering: set[asyncio.Task[None]] = set()  # The loop forgets tasks that nobody holds on to.
        self._root = f"projects/{project}/databases/{database}/documents"
        self._url = f"{address}/v1/{quote(self._root)}"

    @classmethod
    def open(cls, project: str | None, database: str | None, exchanges: Exchanges | None) -> FirestoreWire:
        """Return the wire to a database; the project is the environment's unless it is named.

        Raises:
            LedgerError: nobody says which project.
        """
        project = project or os.environ.get("GOOGLE_CLOUD_PROJECT") or os.environ.get("GCLOUD_PROJECT")
        if not project:
            raise LedgerError("Firestore: GOOGLE_CLOUD_PROJECT is not set, and no project is named")
        return cls(project=project, database=database or "(default)", exchanges=exchanges)

    async def commit(self, writes: Sequence[Write]) -> Committed:
        """Do all of the writes, or none.

        Raises:
            PreconditionError: a document was not as its write demands.
            LedgerError: it is not known whether they took.
        """
        try:
            done = await self._post(":commit", {"writes": [self._write(write) for write in writes]})
        except _StatusError as exc:
            raise (PreconditionError if exc.status in _REFUSED else LedgerError)(f"Firestore: {exc}") from exc
        results = done["writeResults"]
        sums: dict[Key, int] = {}
        for write, result in zip(writes, results, strict=True):
            if isinstance(write, Count):
                sums |= _sums(write, result.get("transformResults", ()))
        return Committed(version=results[0].get("updateTime", ""), sums=sums)

    async def get(self, path: str) -> Found | None:
        """Read one document. All that are asked for in one turn of the event loop are one round trip."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._send_asked)
        asked = _Asked(path=path, answer=loop.create_future())
        self._asked.append(asked)
        return await asked.answer

    def _send_asked(self) -> None:
        asked, self._asked = self._asked, []
        answering = asyncio.ensure_future(self._answer(asked))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    async def _answer(self, asked: Sequence[_Asked]) -> None:
        """Read what was asked for, and tell those who still wait; whatever happens, none of them waits for ever."""
        try:
            found = await self._get_all({one.path for one in asked})
        except _StatusError as exc:
            if exc.status == "INVALID_ARGUMENT" and len(asked) > 1:
                for one in asked:  # A path that cannot be is nobody else's business.
                    await self._answer([one])
                return
            _fail(asked, LedgerError(f"Firestore: {exc}"))
        except Exception as exc:
            _fail(asked, exc)
        else:
            for one in asked:
                if not one.answer.done():
                    one.answer.set_result(found.get(one.path))

    async def _get_all(self, paths: Collection[str]) -> dict[str, Found]:
        """Read documents by their paths; those that are not there are not in what is returned."""
        names = {f"{self._root}/{path}": path for path in paths}
        rows = await self._post(":batchGet", {"documents": list(names)})
        return {names[row["found"]["name"]]: _found(row["found"]) for row in rows if "found" in row}

    async def query(
        self,
        collection: str,
        *,
        where: Mapping[tuple[str, str], Any] | None = None,
        order_by: str = "__name__",
        descending: bool = False,
        limit: int | None = None,
        names_only: bool = False,
    ) -> list[Found]:
        """Read the documents of a collection for which each `(field, operator)` holds against its value, in order."""
        filters = [_filter(name, operator, value) for (name, operator), value in (where or {}).items()]
        query = {
            "from": [{"collectionId": collection}],
            "orderBy": [{"field": {"fieldPath": order_by}, "direction": "DESCENDING" if descending else "ASCENDING"}],
            **({"where": {"compositeFilter": {"op": "AND", "filters": filters}}} if filters else {}),
            **({"limit": limit} if limit is not None else {}),
            **({"select": {"fields": [{"fieldPath": "__name__"}]}} if names_only else {}),
        }
        try:
            rows = await self._post(":runQuery", {"structuredQuery": query})
        except _StatusError as exc:
            raise LedgerError(f"Firestore: {exc}") from exc
        return [_found(row["document"]) for row in rows if "document" in row]

    async def close(self) -> None:
        """Close the connections."""
        await self._exchanges.aclose()

    async def _post(self, method: str, fields: Mapping[str, Any]) -> Any:
        return await self._ask("POST", method, msgspec.json.encode(fields))

    async def _ask(self, method: str, path: str, body: bytes) -> Any:
        """Send a request until it is answered, for as long as the time lasts."""
        pause = _PAUSE_SECONDS_FIRST
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                while True:
                    try:
                        return await self._once(method, path, body)
                    except _StatusError as exc:
                        if exc.status not in _AGAIN:
                            raise
                    except (NotSentError, BrokenOffError):
                        pass  # The connection broke; whether it took, the precondition of the next try tells.
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - it spreads load and protects nothing
                    pause = min(2 * pause, _PAUSE_SECONDS_MAX)
        except (ExchangeError, TimeoutError, ValueError) as exc:
            raise LedgerError(f"Firestore: {type(exc).__name__}: {exc}") from exc

    async def _once(self, method: str, path: str, body: bytes) -> Any:
        headers = {**await self._access.headers(), "content-type": "application/json"}
        reply = await self._exchanges.exchange(method, f"{self._url}{path}", headers, body, _TIMEOUTS)
        answer = msgspec.json.decode(await body_of(reply, _TIMEOUT_SECONDS) or b"{}")
        if reply.status != 200:
            raise _said(answer, reply.status)
        return answer

    def _write(self, write: Write) -> dict[str, Any]:
        name = f"{self._root}/{write.account if isinstance(write, Count) else write.path}"
        match write:
            case Create():
                return {**_set(name, write.fields), "currentDocument": {"exists": False}}
            case Update():
                mask = [field_path((field,)) for field in (*write.fields, *write.forget)]
                at = {"updateTime": write.version}
                return {**_set(name, write.fields), "updateMask": {"fieldPaths": mask}, "currentDocument": at}
            case Touch():
                mask = [field_path((field,)) for field in write.fields]
                there = {"exists": True}
                return {**_set(name, write.fields), "updateMask": {"fieldPaths": mask}, "currentDocument": there}
            case Replace():
                return _set(name, write.fields)
            case Delete():
                demanded = {"updateTime": write.version} if write.version else {"exists": True}
                return {"delete": name, "currentDocument": demanded}
            case Count():
                return _count(name, write)
            case _:
                assert_never(write)


def _set(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"update": {"name": name, "fields": encoded_fields(fields)}}


def _count(name: str, count: Count) -> dict[str, Any]:
    """One write, because each is billed. A field in the mask that the document here does not hold is deleted."""
    mask = [*SCHEMA_VERSION, *(field_path(path) for path in count.forget)]
    return {
        **_set(name, SCHEMA_VERSION),
        "updateMask": {"fieldPaths": mask},
        "updateTransforms": [transform for move in count.moves for transform in _transforms(move)],
        **_demanded(count.version),
    }


def _demanded(version: str | None) -> dict[str, Any]:
    """Return what a document must be like: at a version, absent if that is empty, or anything."""
    if version is None:
        return {}
    return {"currentDocument": {"updateTime": version} if version else {"exists": False}}


def _transforms(move: Move) -> list[dict[str, Any]]:
    """Firestore applies them in this order: lift, then add."""
    path = field_path(move.counter)
    if move.at_most is not None:
        return [{"fieldPath": path, "minimum": encoded(move.at_most)}]
    increment = {"fieldPath": path, "increment": encoded(move.amount)}
    if move.at_least is None:
        return [increment]
    return [{"fieldPath": path, "maximum": encoded(move.at_least)}, increment]


def _sums(count: Count, results: Sequence[Mapping[str, Any]]) -> dict[Key, int]:
    """Each transform has a result; the last one about a counter is what it stands at."""
    keys = [move.key for move in count.moves for _ in _transforms(move)]
    return {key: whole(decoded(result)) for key, result in zip(keys, results, strict=True)}


def _filter(name: str, operator: str, value: Any) -> dict[str, Any]:
    return {
        "fieldFilter": {
            "field": {"fieldPath": field_path((name,))},
            "op": _OPERATORS[operator],
            "value": encoded(value),
        }
    }


def _fail(asked: Sequence[_Asked], error: Exception) -> None:
    for one in asked:
        if not one.answer.done():
            one.answer.set_exception(error)


def _found(document: Mapping[str, Any]) -> Found:
    return Found(
        name=document["name"].rpartition("/")[2],
        fields=decoded_fields(document.get("fields", {})),
        version=document.get("updateTime", ""),
    )


def _said(answer: Any, http_status: int) -> _StatusError:
    """Read an error; a query's comes in a list."""
    first = answer[0] if isinstance(answer, list) and answer else answer
    error = first.get("error", {}) if isinstance(first, dict) else {}
    return _StatusError(str(error.get("status", f"HTTP {http_status}")), str(error.get("message", ""))[:500])
