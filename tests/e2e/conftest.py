"""The suite that all end-to-end tests share: it takes half a minute to start."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from infra.suite import Suite
from tests.e2e.suite import Client, Person, client_of, suite_for_tests

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def suite() -> Iterator[Suite]:
    with suite_for_tests() as suite:
        yield suite


@pytest.fixture(scope="session")
def client(suite: Suite) -> Iterator[Client]:
    with client_of(suite) as client:
        yield client


@pytest.fixture
def stranger(client: Client) -> Person:
    """Somebody who is not signed in."""
    return Person(client, f"person{next(_numbers)}")


@pytest.fixture
def ann(client: Client) -> Person:
    """Somebody with an account."""
    person = Person(client, f"person{next(_numbers)}")
    person.sign_up()
    return person


@pytest.fixture
def guest(client: Client) -> Person:
    """Somebody who is signed in without an account."""
    person = Person(client, f"person{next(_numbers)}")
    person.sign_in_anonymously()
    return person
