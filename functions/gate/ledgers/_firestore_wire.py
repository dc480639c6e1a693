"""The one module that speaks to Firestore's SDK. Importing it takes a third of a second, so it is imported late.

Every call states its timeout, and every exception of the SDK ends here: it leaves as `LedgerError`, or as
`PreconditionError` if a commit found a document other than it demands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, assert_never

from google.api_core import exceptions
from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from google.api_core.retry import AsyncRetry, if_exception_type
from google.auth.exceptions import GoogleAuthError
from google.cloud.firestore import DELETE_FIELD, AsyncClient, FieldFilter, Query
from google.cloud.firestore_v1.async_batch import AsyncWriteBatch
from google.cloud.firestore_v1.base_document import DocumentSnapshot
from google.cloud.firestore_v1.field_path import FieldPath
from google.cloud.firestore_v1.types import Document, DocumentMask, DocumentTransform, Precondition, Value
from google.cloud.firestore_v1.types import Write as WireWrite

from gate.errors import LedgerError
from gate.ledgers._firestore_documents import whole
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
from gate.meter import Key, Move

_TIMEOUT_SECONDS = 10.0
"""Of a call together with its repetitions."""

_AGAIN = AsyncRetry(
    # Jittered by the SDK. Repeating is safe because every commit that counts carries a precondition, which the first
    # try, if it took, has made false. An exhausted quota is left out: it does not come back within seconds.
    predicate=if_exception_type(exceptions.Aborted, exceptions.ServiceUnavailable, exceptions.InternalServerError),
    initial=0.05,
    maximum=1.0,
    multiplier=2.0,
    timeout=_TIMEOUT_SECONDS,
)


class FirestoreWire:
    """Commits, reads and queries of one database. Belongs to the event loop in which it is first used."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    @classmethod
    def open(cls, client: AsyncClient | None, project: str | None, database: str | None) -> FirestoreWire:
        """Use a client, or make one as the environment says: to its emulator, else to Google with its credentials."""
        with _errors_translated():
            return cls(client or AsyncClient(project=project, database=database))

    async def commit(self, writes: Sequence[Write]) -> Committed:
        """Do all of the writes, or none.

        Raises:
            PreconditionError: a document was not as its write demands.
            LedgerError: it is not known whether they took.
        """
        batch = self._client.batch()
        for write in writes:
            self._add(batch, write)
        with _errors_translated():
            try:
                results = await batch.commit(retry=_AGAIN, timeout=_TIMEOUT_SECONDS)
            except (exceptions.AlreadyExists, exceptions.FailedPrecondition, exceptions.NotFound) as exc:
                raise PreconditionError(str(exc)) from exc
        sums: dict[Key, int] = {}
        for write, result in zip(writes, results, strict=True):
            if isinstance(write, Count):
                sums |= _sums(write, result.transform_results)
        return Committed(version=_version(results[0].update_time), sums=sums)

    async def get(self, path: str) -> Found | None:
        """Read one document."""
        with _errors_translated():
            snapshot = await self._client.document(path).get(retry=_AGAIN, timeout=_TIMEOUT_SECONDS)
        return _found(snapshot) if snapshot.exists else None

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
        query = self._client.collection(collection).order_by(
            order_by, direction=Query.DESCENDING if descending else Query.ASCENDING
        )
        for (name, operator), value in (where or {}).items():
            query = query.where(filter=FieldFilter(name, operator, value))
        query = query.limit(limit) if limit is not None else query
        query = query.select([]) if names_only else query
        with _errors_translated():
            return [_found(one) for one in await query.get(retry=_AGAIN, timeout=_TIMEOUT_SECONDS)]

    async def close(self) -> None:
        """Close the channel."""
        await self._client._firestore_api.transport.close()  # The async client has no close of its own.

    def _add(self, batch: AsyncWriteBatch, write: Write) -> None:
        path = write.account if isinstance(write, Count) else write.path
        reference = self._client.document(path)
        match write:
            case Create():
                batch.create(reference, dict(write.fields))
            case Update():
                fields = {**write.fields, **dict.fromkeys(write.forget, DELETE_FIELD)}
                batch.update(reference, fields, option=self._at(write.version))
            case Touch():
                batch.update(reference, dict(write.fields))
            case Replace():
                batch.set(reference, dict(write.fields))
            case Delete():
                there = self._client.write_option(exists=True)
                batch.delete(reference, option=self._at(write.version) if write.version else there)
            case Count():
                # The public methods cannot say "lift, then add" of one field in one write, and writes are billed.
                batch._add_write_pbs([_count(reference._document_path, write)])
            case _:
                assert_never(write)

    def _at(self, version: str) -> Any:
        return self._client.write_option(last_update_time=_time(version))


def _count(name: str, count: Count) -> WireWrite:
    """One write, because each is billed. A field in the mask that the document here does not hold is deleted."""
    version = {key: Value(integer_value=value) for key, value in SCHEMA_VERSION.items()}
    return WireWrite(
        update=Document(name=name, fields=version),
        update_mask=DocumentMask(field_paths=[*version, *(_field(path) for path in count.forget)]),
        update_transforms=[transform for move in count.moves for transform in _transforms(move)],
        current_document=_precondition(count.version),
    )


def _precondition(version: str | None) -> Precondition | None:
    if version is None:
        return None
    return Precondition(update_time=_time(version)) if version else Precondition(exists=False)


def _transforms(move: Move) -> list[DocumentTransform.FieldTransform]:
    """Firestore applies them in this order: lift, then add."""
    path, add = _field(move.counter), Value(integer_value=move.amount)
    increment = DocumentTransform.FieldTransform(field_path=path, increment=add)
    if move.at_least is None:
        return [increment]
    lift = Value(integer_value=move.at_least)
    return [DocumentTransform.FieldTransform(field_path=path, maximum=lift), increment]


def _sums(count: Count, results: Sequence[Value]) -> dict[Key, int]:
    """Each transform has a result; the last one about a counter is what it stands at."""
    keys = [move.key for move in count.moves for _ in _transforms(move)]
    return {key: _whole(result) for key, result in zip(keys, results, strict=True)}


def _whole(value: Value) -> int:
    return int(value.integer_value) if "integer_value" in value else whole(value.double_value)


def _field(path: tuple[str, ...]) -> str:
    return FieldPath(*path).to_api_repr()


def _found(snapshot: DocumentSnapshot[Any]) -> Found:
    return Found(name=snapshot.id, fields=snapshot.to_dict() or {}, version=_version(snapshot.update_time))


def _time(version: str) -> Any:
    return DatetimeWithNanoseconds.from_rfc3339(version)  # type: ignore[no-untyped-call]  # api_core is untyped


def _version(update_time: DatetimeWithNanoseconds | None) -> str:
    if update_time is None:
        return ""
    return str(update_time.rfc3339())  # type: ignore[no-untyped-call]  # api_core is untyped


@contextmanager
def _errors_translated() -> Iterator[None]:
    try:
        yield
    except (exceptions.GoogleAPIError, GoogleAuthError, TimeoutError) as exc:
        raise LedgerError(f"Firestore: {type(exc).__name__}: {exc}") from exc
