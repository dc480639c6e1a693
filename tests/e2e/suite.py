"""The suite for tests, with people in it: each is an app with the unmodified Firebase JS SDK, in Node.js."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from infra import suite_parts
from infra.suite import HOST, PROJECT, REGION, Suite, free_ports, inherited_env, running, write_starter_documents
from infra.suite_parts import ROOT, MissingPartError
from tests.missing import missing

_CLIENT = ROOT / "tests" / "js" / "client.mjs"


class FirebaseError(Exception):
    """What the SDK threw, as an app sees it."""

    def __init__(self, code: str | None, message: str, details: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = details


class Person:
    """Somebody with an app of their own."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name
        self.uid = ""

    def sign_up(self) -> None:
        """Make an account with an e-mail address and a password, and sign in."""
        self.uid = self._do("signUp", email=f"{self._name}@example.com", password="correct horse battery")

    def sign_in_anonymously(self) -> None:
        self.uid = self._do("signInAnonymously")

    def id_token(self) -> str:
        """Return the token that the SDK shows for them."""
        return str(self._do("idToken"))

    def call(self, name: str, data: Any = None) -> Any:
        """Call one of hop 1's callables."""
        return self._do("call", name=name, data=data)

    def stream(self, name: str, data: Any = None) -> Any:
        """Call it as a stream, and return `{"chunks", "result"}`."""
        return self._do("stream", name=name, data=data)

    def open(self, name: str, data: Any = None) -> Any:
        """Call it as a stream, and return its first chunk as soon as that has come; `rest` has the others."""
        return self._do("open", name=name, data=data)

    def rest(self) -> Any:
        """Wait for the end of what was opened, and return the other `{"chunks", "result"}`."""
        return self._do("rest")

    def leave(self, name: str, data: Any, *, chunks: int) -> Any:
        """Call it as a stream, leave after some chunks, and return those."""
        return self._do("leave", name=name, data=data, chunks=chunks)

    def watch(self, path: str, *, seconds: int = 60) -> Any:
        """Listen to a job's document until the job has ended, and return `{"states", "job"}`."""
        return self._do("watch", path=path, seconds=seconds)

    def read(self, path: str) -> Any:
        """Read a document, under the security rules."""
        return self._do("read", path=path)

    def write(self, path: str, data: Mapping[str, Any]) -> None:
        """Write a document, under the security rules."""
        self._do("write", path=path, data=data)

    def list_equal(self, path: str, field: str, value: Any) -> Any:
        """Read a collection's documents in which a field has a value, under the security rules."""
        return self._do("list", path=path, field=field, value=value)

    def _do(self, deed: str, **what: Any) -> Any:
        return self._client.ask({"do": deed, "as": self._name, **what})


class Client:
    """The Node.js process that all people's apps run in."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.wait()

    def ask(self, deed: Mapping[str, Any]) -> Any:
        """Have it do something, and return the outcome.

        Raises:
            FirebaseError: the SDK threw it.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(deed) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the client ended; its last words are on standard error"
        answer = json.loads(line)
        if "error" in answer:
            raise FirebaseError(**answer["error"])
        return answer["ok"]


@contextmanager
def suite_for_tests() -> Iterator[Suite]:
    """Start the suite on ports of its own, or skip the test if a part of it is missing."""
    try:
        with running(free_ports(), settings={"POLICY_SECONDS": "0"}, hosting=True) as suite:
            write_starter_documents(suite)
            yield suite
    except MissingPartError as exc:
        missing(exc.what, exc.remedy)


@contextmanager
def client_of(suite: Suite) -> Iterator[Client]:
    """Start the client process, and end it with its connections."""
    with _client(asdict(suite.ports)) as client:
        yield client


@contextmanager
def dev_client(port: int) -> Iterator[Client]:
    """Start the same for a server of `make dev`, which is sign-in and functions in one, and has no Firestore.

    Or skip the test if Node.js or the SDK is missing.
    """
    if not (_CLIENT.parent / "node_modules" / "firebase").exists():
        missing("the Firebase JS SDK", "run `npm ci --ignore-scripts --prefix tests/js`")
    try:
        with _client(dict.fromkeys(("auth", "functions", "firestore"), port)) as client:
            yield client
    except MissingPartError as exc:
        missing(exc.what, exc.remedy)


@contextmanager
def _client(ports: Mapping[str, int]) -> Iterator[Client]:
    where = {"project": PROJECT, "region": REGION, "host": HOST, "ports": ports}
    command = [suite_parts.node(), str(_CLIENT), json.dumps(where)]
    with subprocess.Popen(
        command, env=inherited_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Client(process)
        finally:
            process.kill()
