"""Every refusal is one that the Firebase callable protocol knows, with the status that Firebase uses for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gate import errors
from gate.endpoints.answers import error_json
from gate.errors import GateError, InvalidRequestError, ProviderError, ProviderUnavailableError

HTTP_STATUS_BY_CODE = {
    "cancelled": 499,
    "unknown": 500,
    "invalid-argument": 400,
    "deadline-exceeded": 504,
    "not-found": 404,
    "already-exists": 409,
    "permission-denied": 403,
    "unauthenticated": 401,
    "resource-exhausted": 429,
    "failed-precondition": 400,
    "aborted": 409,
    "out-of-range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data-loss": 500,
}
"""The error map of the Firebase callable protocol."""


def _tree(root: type[GateError]) -> Iterator[type[GateError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


ALL = [pytest.param(kind, id=kind.__name__) for kind in _tree(GateError)]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_a_code_of_the_protocol_and_its_status(kind: type[GateError]) -> None:
    """A client that knows Firebase's codes knows all of ours."""
    assert HTTP_STATUS_BY_CODE.get(kind.code) == kind.http_status


@pytest.mark.parametrize("kind", [row for row in ALL if row.values[0].__module__ == errors.__name__])
def test_every_error_is_drawn_in_the_tree(kind: type[GateError]) -> None:
    """The drawing at the top of the module is what people read."""
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", [row for row in ALL if row.values[0] is not InvalidRequestError])
def test_the_reason_stays_with_the_operator(kind: type[GateError]) -> None:
    """What the log may say, a client must not read."""
    error = kind("the key of users/alice is s3cret")

    assert "s3cret" in str(error)
    assert "s3cret" not in str(error_json(error))
    assert error.public_message == kind.default_message


def test_a_malformed_request_is_told_what_is_wrong_with_it() -> None:
    """Here the reason is the client's own doing, so it is told."""
    error = InvalidRequestError("inputs is empty")

    assert error_json(error)["error"]["message"] == str(error) == "inputs is empty"


@pytest.mark.parametrize(
    ("kind", "billed"),
    [
        pytest.param(errors.ProviderUnavailableError, False, id="never-taken"),
        pytest.param(errors.ProviderRejectedError, False, id="refused"),
        pytest.param(errors.ProviderTimeoutError, True, id="may-have-run"),
        pytest.param(errors.JobFailedError, True, id="ran"),
    ],
)
def test_an_error_is_free_only_if_the_job_surely_never_ran(kind: type[ProviderError], billed: bool) -> None:
    """When in doubt the owner has to pay, so the caller does."""
    assert kind.billed is billed


def test_a_retry_time_reaches_the_client_in_the_details() -> None:
    """A program reads it there; without one there are no details at all."""
    assert ProviderUnavailableError("full", retry_after_seconds=2.5).details == {"retry_after_seconds": 2.5}
    assert error_json(ProviderUnavailableError("full"))["error"]["details"] is None
