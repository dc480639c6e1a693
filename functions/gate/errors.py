"""Every way the gate says no, as one tree.

    GateError
    ├── SettingsError               the operator must change a setting; nothing was spent
    ├── InvalidRequestError         the request is malformed or over an input limit
    ├── UnauthenticatedError        nobody we know is asking
    ├── ForbiddenError              the caller is known and may not do this
    ├── ConflictError               the same idempotency key came with another payload
    ├── JobNotFoundError            no such job, or not this caller's
    ├── JobCancelledError           its caller stopped the job
    ├── TokenNotFoundError          no such API token, or not this caller's
    ├── QuotaExceededError          a limit is reached; says which, and when to come back
    ├── PolicyError                 a plan or the gate's configuration is missing or malformed
    ├── UnsupportedError            this service is not set up for that kind of request
    ├── ResultStoreError            an answer that is too large for a document cannot be kept, or not be found
    ├── KilledError                 switched off, for this caller or for all
    ├── LedgerError                 the ledger cannot be reached or gave no clear answer
    ├── NotDeliveredError           the operator could not be told; told again later
    └── ProviderError               hop 2 did not deliver
        ├── ProviderUnavailableError    it never took the job; not billed
        ├── ProviderRejectedError       it refused the job before running it; not billed
        ├── ProviderTimeoutError        no answer in time; it may have run, so it counts as billed
        └── JobFailedError              it ran and failed; billed as reported, else at the hold

Two audiences: ``public_message`` and ``details`` are safe to show to any client; the exception's ``args`` are
for the log. ``code`` is a canonical gRPC status, which the Firebase callable protocol uses as is.
"""

from __future__ import annotations

from typing import Any, ClassVar


class GateError(Exception):
    """Root of the tree. An instance of this very class is a bug, and tells the client nothing more than that.

    Args:
        reason: for the operator's log; never sent to a client.
        public_message: sent to the client; defaults to the class's own sentence.
        details: JSON-ready facts a client program can act on.
    """

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    default_message: ClassVar[str] = "Something went wrong on our side."

    def __init__(
        self,
        reason: str = "",
        *,
        public_message: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(reason)
        self.public_message = public_message or self.default_message
        self.details = details or {}


class SettingsError(GateError):
    """A setting is missing or contradicts another. The reason names it and what to write where."""

    code = "failed-precondition"
    http_status = 400
    default_message = "This service is not set up completely. Its owner finds the reason in the log."


class InvalidRequestError(GateError):
    """The request cannot be processed as it is; sending it again unchanged gives the same answer."""

    code = "invalid-argument"
    http_status = 400
    default_message = "The request is malformed."

    def __init__(self, public_message: str, *, details: dict[str, Any] | None = None) -> None:
        super().__init__(public_message, public_message=public_message, details=details)


class UnauthenticatedError(GateError):
    """No credential, or one that does not hold. The client learns only that it must sign in again."""

    code = "unauthenticated"
    http_status = 401
    default_message = "Sign in first: this request carries no valid credential."


class ForbiddenError(GateError):
    """The caller is known, and may not do this."""

    code = "permission-denied"
    http_status = 403
    default_message = "This account may not do that."


class ConflictError(GateError):
    """The idempotency key names a job that was made of another payload."""

    code = "already-exists"
    http_status = 409
    default_message = "This idempotency key was used before with another payload. Use a new key for a new request."


class JobNotFoundError(GateError):
    """No such job, or it is another caller's: the two cannot be told apart from outside."""

    code = "not-found"
    http_status = 404
    default_message = "There is no such job."


class JobCancelledError(GateError):
    """Its caller stopped the job, and pays what it had used by then."""

    code = "cancelled"
    http_status = 499
    default_message = "This request was cancelled."


class TokenNotFoundError(GateError):
    """No such API token, or it is another caller's: the two cannot be told apart from outside."""

    code = "not-found"
    http_status = 404
    default_message = "There is no such API token."


class QuotaExceededError(GateError):
    """A limit is reached. ``details`` say which, how much, and how long to wait."""

    code = "resource-exhausted"
    http_status = 429
    default_message = "A limit is reached. Try again later."


class PolicyError(GateError):
    """A plan, a user's override or the gate's configuration is missing or malformed, and no good value is known."""

    code = "failed-precondition"
    http_status = 400
    default_message = "This account has no valid plan yet. The service's owner finds the reason in the log."


class UnsupportedError(GateError):
    """This service is not set up for that kind of request; another kind may do."""

    code = "unimplemented"
    http_status = 501
    default_message = "This service does not offer that."


class ResultStoreError(GateError):
    """The store of large answers cannot be reached, or none is set up."""

    code = "unavailable"
    http_status = 503
    default_message = "The answer cannot be kept right now. Try again in a moment."


class KilledError(GateError):
    """The owner, or a threshold of the budget, has switched this off. ``details`` say at which kill level."""

    code = "unavailable"
    http_status = 503
    default_message = "This service is switched off for now, to keep within its budget. Try again later."


class LedgerError(GateError):
    """The ledger cannot be reached, or its answer is unclear. When in doubt the gate refuses."""

    code = "unavailable"
    http_status = 503
    default_message = "Requests cannot be counted right now, so none is accepted. Try again in a moment."


class NotDeliveredError(GateError):
    """A message for the operator did not arrive. No client ever sees this."""


class ProviderError(GateError):
    """Hop 2 did not deliver. ``billed`` decides between release and settlement; in doubt it was billed."""

    code = "unavailable"
    http_status = 503
    default_message = "The model cannot be reached right now. Try again in a moment."
    billed: ClassVar[bool] = True

    def __init__(
        self,
        reason: str = "",
        *,
        public_message: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        details = {} if retry_after_seconds is None else {"retry_after_seconds": retry_after_seconds}
        super().__init__(reason, public_message=public_message, details=details)


class ProviderUnavailableError(ProviderError):
    """The provider never took the job: no connection, no capacity, throttled. Sure not to be billed."""

    billed = False


class ProviderRejectedError(ProviderError):
    """The provider or the worker refused the job before running it. Sure not to be billed."""

    code = "internal"
    http_status = 500
    default_message = "The model's host refused the request. The service's owner finds the reason in the log."
    billed = False


class ProviderTimeoutError(ProviderError):
    """No answer in time. The job may be running still, so the hold is settled in full."""

    code = "deadline-exceeded"
    http_status = 504
    default_message = "The model did not answer in time."


class JobFailedError(ProviderError):
    """The worker ran the job, and it failed."""

    code = "internal"
    http_status = 500
    default_message = "The model failed on this input."
