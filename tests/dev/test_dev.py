"""Both hops on one machine, driven from outside: curl as the first page shows it, and the real Firebase JS SDK."""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from tests.dev.running import Dev, dev_running
from tests.e2e.suite import FirebaseError, Person, dev_client

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with dev_running(tmp_path_factory.mktemp("dev")) as dev:
        yield dev


def test_it_says_in_one_line_where_it_is_ready(dev: Dev) -> None:
    """A script can wait for it, and the health check is good from then on."""
    assert dev.ready_line == f"Twohop is ready at http://127.0.0.1:{dev.port}\n"
    assert httpx.get(f"{dev.url}/healthz").status_code == 200


def test_the_first_pages_curl_commands_work_as_they_are_copied(dev: Dev) -> None:
    """What the page says to try is tried, in a shell."""
    page = httpx.get(dev.url).text
    snippets = [html.unescape(text) for text in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)]
    commands = [text for text in snippets if "curl" in text]

    ran = subprocess.run(["bash", "-euc", "\n".join(commands)], capture_output=True, text=True, check=True)

    infer, quota = (json.loads(answer) for answer in re.findall(r'\{"result":.*?\}(?=\{"result"|$)', ran.stdout))
    assert [len(vector) for vector in infer["result"]["outputs"]] == [384, 384]
    assert quota["result"]["quota"]["requests_per_day"]["remaining"] == 199


def test_the_page_holds_no_word_that_was_not_filled_in(dev: Dev) -> None:
    """A newcomer copies what is there."""
    assert "{{" not in httpx.get(dev.url).text


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"uid": 3}', b'{"uid": ""}', b'{"uid": "a/b"}', b'{"name": "x"}', b"\xff"]
)
def test_a_token_for_nobody_is_refused_clearly(dev: Dev, body: bytes) -> None:
    """The dev sign-in makes callers that could exist, and never fails with a 500."""
    response = httpx.post(f"{dev.url}/dev/token", content=body)

    assert response.status_code in (400, 401)
    assert response.json()["error"]["message"]


def test_another_web_page_cannot_sign_in_here(dev: Dev) -> None:
    """A page that the developer visits must not be able to use the model on their machine."""
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}

    preflight = httpx.options(f"{dev.url}/dev/token", headers=headers)

    assert preflight.status_code == 400
    assert "access-control-allow-origin" not in preflight.headers


@pytest.fixture(scope="module")
def person(dev: Dev) -> Iterator[Person]:
    """An app with the unmodified JS SDK, connected to the dev server for sign-in and for calls."""
    with dev_client(dev.port) as client:
        person = Person(client, "guest")
        person.sign_in_anonymously()
        yield person


def test_the_firebase_sdk_signs_in_and_gets_an_answer(person: Person) -> None:
    """`connectAuthEmulator` and `connectFunctionsEmulator` are all that an app changes for its own machine."""
    answer = person.call("infer", {"inputs": "Hello, world"})

    assert len(answer["outputs"]) == 384
    assert answer["usage"]["settled_microdollars"] > 0


def test_anonymous_users_have_the_anonymous_plan(person: Person) -> None:
    """They are a cohort of their own."""
    quota = person.call("quota")["quota"]

    assert quota["requests_per_day"]["limit"] == 20


def test_the_firebase_sdk_reads_a_refusal_and_its_details(person: Person) -> None:
    """An app can say when to come back."""

    def call_too_often() -> None:
        for _ in range(10):
            person.call("infer", {"inputs": "again"})

    with pytest.raises(FirebaseError) as refused:
        call_too_often()

    assert refused.value.code == "functions/resource-exhausted"
    assert refused.value.details["limit"] == "requests_per_minute"
    assert refused.value.details["retry_after_seconds"] > 0


def test_a_stream_of_the_firebase_sdk_ends(person: Person) -> None:
    """It reads only events, and would wait for ever for a plain answer or a plain refusal."""
    with pytest.raises(FirebaseError, match="malformed"):
        person.stream("infer", {"inputs": 5})
