"""What every `DocumentStore` promises of documents that are made, changed and removed one by one."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from gate.document_store import DocumentStore

AT = datetime(2026, 11, 21, 12, 0, 0, 123_456, tzinfo=UTC)


class _Stamped(msgspec.Struct):
    owner: str
    at: datetime
    used: int | None = None


class DocumentStoreContract:
    """Inherit it and give a fixture `documents`, empty at the start of each test."""

    async def test_a_document_is_made_once(self, documents: DocumentStore) -> None:
        """Who comes second changes nothing, and is told so."""
        assert await documents.create("tokens/one", {"owner": "alice"})
        assert not await documents.create("tokens/one", {"owner": "bob"})

        assert (await documents.read("tokens/one") or {})["owner"] == "alice"

    async def test_an_update_changes_the_fields_it_names(self, documents: DocumentStore) -> None:
        await documents.create("tokens/one", {"owner": "alice", "used": 1})

        assert await documents.update("tokens/one", {"used": 2, "at": AT})

        document = await documents.read("tokens/one") or {}
        assert msgspec.convert(
            {name: value for name, value in document.items() if name != "schema_version"}, _Stamped
        ) == _Stamped(owner="alice", at=AT, used=2)

    async def test_an_update_makes_no_document(self, documents: DocumentStore) -> None:
        """A token that was deleted must not come back because somebody used it."""
        assert not await documents.update("tokens/one", {"used": 2})
        assert await documents.read("tokens/one") is None

    async def test_a_deleted_document_is_gone(self, documents: DocumentStore) -> None:
        await documents.create("tokens/one", {"owner": "alice"})

        assert await documents.delete("tokens/one")
        assert not await documents.delete("tokens/one")
        assert await documents.read("tokens/one") is None

    async def test_documents_are_found_by_a_field_of_theirs(self, documents: DocumentStore) -> None:
        """In one collection, and with times that the reader of a struct understands."""
        await documents.create("tokens/one", {"owner": "alice", "at": AT})
        await documents.create("tokens/two", {"owner": "bob", "at": AT})
        await documents.create("tokens/three", {"owner": "alice", "at": AT})
        await documents.create("revoked_tokens/four", {"owner": "alice", "at": AT})

        found = await documents.find("tokens", "owner", "alice")

        assert {name: msgspec.convert(document, _Stamped).at for name, document in found.items()} == {
            "one": AT,
            "three": AT,
        }
        assert len(await documents.find("tokens", "owner", "alice", limit=1)) == 1
        assert await documents.find("tokens", "owner", "al'ice") == {}
