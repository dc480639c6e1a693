"""Who may do what to which document, asked of the official emulator with the rules that are deployed."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.emulators import firestore_emulator, fresh_project

pytestmark = pytest.mark.emulator

RULES = Path(__file__).parents[2] / "firestore.rules"

ROLES: dict[str, dict[str, Any] | None] = {
    "nobody": None,
    "alice": {"sub": "alice"},
    "bob": {"sub": "bob"},
    "anonymous": {"sub": "anon", "provider_id": "anonymous", "firebase": {"sign_in_provider": "anonymous"}},
    "forger": {"sub": "eve", "admin": True, "operator": True, "role": "owner", "caller": "alice"},
}
"""What each one's token says. The emulator takes tokens unsigned, so `forger` stands for any custom claim at all."""

ALICES: dict[str, dict[str, str]] = {
    "plans/free": {},
    "users/alice": {},
    "usage/alice": {},
    "jobs/one": {"caller": "alice"},
    "tokens/one": {"owner": "alice"},
    "revoked_tokens/two": {"owner": "alice"},
    "gate/config": {},
    "budget/0": {},
    "alerts/one": {"caller": "alice", "owner": "alice"},
    "later/alice": {"caller": "alice", "owner": "alice"},
    "usage/alice/later/alice": {"caller": "alice", "owner": "alice"},
}
"""One document of each collection, one that nobody has thought of yet, and one below alice's own."""

GET = {
    ("alice", path)
    for path in ("plans/free", "users/alice", "usage/alice", "jobs/one", "tokens/one", "revoked_tokens/two")
} | {(role, "plans/free") for role in ("bob", "anonymous", "forger")}
LIST = {(role, "plans") for role in ("alice", "bob", "anonymous", "forger")}
COLLECTIONS = sorted({path.rpartition("/")[0] for path in ALICES})


class Database:
    """The emulator's REST interface to one project, as one role."""

    def __init__(self, http: httpx.Client, project: str) -> None:
        self._http = http
        self._project = project
        self._root = f"/v1/projects/{project}/databases/(default)/documents"

    def get(self, role: str, path: str) -> int:
        return self._ask(role, "GET", f"/{path}")

    def list(self, role: str, collection: str) -> int:
        return self._ask(role, "GET", f"/{collection}")

    def count(self, role: str, collection: str) -> int:
        parent, _, name = collection.rpartition("/")
        counting = {"structuredQuery": {"from": [{"collectionId": name}]}, "aggregations": [{"count": {}}]}
        body = {"structuredAggregationQuery": counting}
        return self._ask(role, "POST", f"{parent and '/'}{parent}:runAggregationQuery", body)

    def query(self, role: str, collection: str, field: str, value: str, *, everywhere: bool = False) -> int:
        only = {"fieldFilter": {"field": {"fieldPath": field}, "op": "EQUAL", "value": {"stringValue": value}}}
        query = {"from": [{"collectionId": collection, "allDescendants": everywhere}], "where": only}
        return self._ask(role, "POST", ":runQuery", {"structuredQuery": query})

    def create(self, role: str, collection: str) -> int:
        return self._ask(
            role, "POST", f"/{collection}?documentId=new", _document({"caller": "alice", "owner": "alice"})
        )

    def update(self, role: str, path: str) -> int:
        return self._ask(role, "PATCH", f"/{path}", _document({**ALICES[path], "plan": "unlimited"}))

    def delete(self, role: str, path: str) -> int:
        return self._ask(role, "DELETE", f"/{path}")

    def _ask(self, role: str, method: str, rest: str, body: dict[str, Any] | None = None) -> int:
        return self._http.request(method, self._root + rest, json=body, headers=self._headers(role)).status_code

    def _headers(self, role: str) -> dict[str, str]:
        if role == "owner":
            return _bearer("owner")
        claims = ROLES[role]
        return {} if claims is None else _bearer(_unsigned_token(claims, self._project))


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    project = fresh_project()
    with httpx.Client(base_url=f"http://{firestore_emulator()}", timeout=20.0) as http:
        rules = {"rules": {"files": [{"name": RULES.name, "content": RULES.read_text("utf-8")}]}}
        http.put(f"/emulator/v1/projects/{project}:securityRules", json=rules).raise_for_status()
        database = Database(http, project)
        for path in ALICES:
            assert database.update("owner", path) == 200
        yield database


@pytest.mark.parametrize("path", ALICES)
@pytest.mark.parametrize("role", ROLES)
def test_who_reads_gets_their_own_and_the_plans_alone(database: Database, role: str, path: str) -> None:
    """One's own documents and the plans, and nothing else."""
    assert database.get(role, path) == (200 if (role, path) in GET else 403)


@pytest.mark.parametrize("collection", COLLECTIONS)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation", ["list", "count"])
def test_a_whole_collection(database: Database, operation: str, role: str, collection: str) -> None:
    """Only the plans: anything else would show, or count, what belongs to others."""
    status = getattr(database, operation)(role, collection)

    assert status == (200 if (role, collection) in LIST else 403)


@pytest.mark.parametrize(
    ("collection", "field"), [("jobs", "caller"), ("tokens", "owner"), ("revoked_tokens", "owner")]
)
@pytest.mark.parametrize("role", ROLES)
def test_a_query_is_allowed_for_nothing_but_ones_own(
    database: Database, role: str, collection: str, field: str
) -> None:
    """A query is allowed if its filter leaves nothing but one's own."""
    assert database.query(role, collection, field, "alice") == (200 if role == "alice" else 403)
    assert database.query(role, collection, field, "alice", everywhere=True) == 403


def test_an_anonymous_user_reads_their_own_usage(database: Database) -> None:
    """They are signed in, if without a name; there is merely nothing there yet."""
    assert database.get("anonymous", "usage/anon") == 404


@pytest.mark.parametrize("path", ALICES)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation", ["create", "update", "delete"])
def test_nobody_writes(database: Database, operation: str, role: str, path: str) -> None:
    """Not even to one's own: a quota that its user can write is none."""
    target = path.rpartition("/")[0] if operation == "create" else path

    assert getattr(database, operation)(role, target) == 403


@pytest.mark.parametrize("path", ALICES)
def test_the_same_requests_work_without_the_rules(database: Database, path: str) -> None:
    """So it is the rules that denied them, and not a slip in the test."""
    collection = path.rpartition("/")[0]
    statuses = [
        database.get("owner", path),
        database.list("owner", collection),
        database.count("owner", collection),
        database.create("owner", collection),
        database.delete("owner", f"{collection}/new"),
        database.update("owner", path),
        database.query("owner", collection.rpartition("/")[2], "caller", "alice", everywhere=True),
    ]

    assert statuses == [200] * 7


def test_the_roles_are_all_tried() -> None:
    """The tables name nobody and no document that no request is made of."""
    tried = set(itertools.product(ROLES, [*ALICES, *COLLECTIONS]))

    assert tried >= GET | LIST


def _document(fields: dict[str, str]) -> dict[str, Any]:
    return {"fields": {name: {"stringValue": value} for name, value in fields.items()}}


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _unsigned_token(claims: dict[str, Any], project: str) -> str:
    standard = {"iss": f"https://securetoken.google.com/{project}", "aud": project, "user_id": claims["sub"]}
    times = {"iat": 0, "auth_time": 0, "exp": 2**31}
    parts = ({"alg": "none", "typ": "JWT"}, {**standard, **times, **claims})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join(encoded) + "."
