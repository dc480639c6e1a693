"""API tokens and the HTTP routes as they are deployed: Firebase's emulators, Hosting's rewrites, and real clients."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from infra.suite import HOST, Suite
from tests.e2e.suite import FirebaseError, Person

pytestmark = [pytest.mark.suite, pytest.mark.timeout(900)]

MODEL = "all-minilm-l6-v2"


def addresses(suite: Suite) -> dict[str, str]:
    """Return where the routes are: at Hosting's address, and at the function's own."""
    return {"hosting": f"http://{HOST}:{suite.ports.hosting}", "function": suite.callable_url("api")}


def make_token(person: Person, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = person.call("tokens", {"action": "create", "label": "test", "lifetime": "day", **fields})
    return made


@pytest.mark.parametrize("address", ["hosting", "function"])
def test_the_openai_package_works_at_both_addresses(suite: Suite, ann: Person, address: str) -> None:
    """Hosting gives the routes the project's own name; the function's own address has no limit of a minute."""
    url, key = addresses(suite)[address], make_token(ann)["token"]
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)

    made = client.embeddings.create(model=MODEL, input=["a cat", "a kitten"])

    assert [len(row.embedding) for row in made.data] == [384, 384]
    assert [model.id for model in client.models.list()] == [MODEL]
    assert ann.call("quota")["quota"]["requests_per_day"]["remaining"] == 199
    document = httpx.get(f"{url}/openapi.json", timeout=30).json()
    assert document["openapi"] == "3.1.0"


def test_an_id_token_is_a_bearer_too(suite: Suite, ann: Person) -> None:
    """A page need not make a token for itself."""
    answer = httpx.post(
        f"{addresses(suite)['hosting']}/models/{MODEL}",
        json={"inputs": "a cat"},
        headers={"authorization": f"Bearer {ann.id_token()}"},
        timeout=60,
    )

    assert (answer.status_code, len(answer.json())) == (200, 384)


def test_a_revoked_token_is_refused_on_the_next_call(suite: Suite, ann: Person) -> None:
    """By another process than the one that revoked it: the emulators give each call its own."""
    made = make_token(ann)
    client = openai.OpenAI(base_url=f"{addresses(suite)['function']}/v1", api_key=made["token"], max_retries=0)
    client.embeddings.create(model=MODEL, input="a cat")
    assert ann.call("tokens", {"action": "list"})["tokens"][0]["last_used_at"] is not None

    ann.call("tokens", {"action": "revoke", "token_id": made["token_id"]})

    with pytest.raises(openai.AuthenticationError):
        client.embeddings.create(model=MODEL, input="a cat")
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    assert ann.call("quota")["quota"]["requests_per_day"]["remaining"] == 199
    assert ann.call("tokens", {"action": "list"})["tokens"][0]["state"] == "revoked"


def test_owners_read_their_tokens_documents_and_nobody_elses(ann: Person, guest: Person) -> None:
    """There is nothing in them that a token could be made of."""
    made = make_token(ann)

    document = ann.read(f"tokens/{made['token_id']}")

    assert document["label"] == "test"
    assert made["token"] not in repr(document)
    assert "hash" not in document
    with pytest.raises(FirebaseError, match="permission-denied"):
        guest.read(f"tokens/{made['token_id']}")


def test_guests_have_no_tokens(guest: Person) -> None:
    """Anybody can be a guest as often as they like."""
    with pytest.raises(FirebaseError, match="no API tokens"):
        make_token(guest)
