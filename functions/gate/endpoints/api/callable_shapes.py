"""What the callables take and answer, as types, for the OpenAPI document. A test holds every real answer to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from gate.domain.job import JobState
from gate.domain.plan import Budget
from gate.domain.request import InferRequest
from gate.endpoints.callables import JobName, NoPayload
from gate.endpoints.tokens import TokensRequest


class CallableError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why not."""

    status: str
    """A canonical gRPC status."""
    message: str
    details: dict[str, Any] | None


class CallableErrorBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A refusal, as Firebase's SDKs read it."""

    error: CallableError


class Left(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left of one limit."""

    limit: int
    remaining: int
    resets_at: datetime | None


class JobUsage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job was held at, and, once it has ended, what it took. What nobody told is null."""

    held_microdollars: int
    settled_microdollars: int | msgspec.UnsetType | None = msgspec.UNSET
    gpu_seconds: float | msgspec.UnsetType = msgspec.UNSET
    useful_seconds: float | msgspec.UnsetType | None = msgspec.UNSET
    start_seconds: float | msgspec.UnsetType | None = msgspec.UNSET
    idle_seconds: float | msgspec.UnsetType | None = msgspec.UNSET


class JobFailure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a job ended without an answer."""

    status: str
    message: str | None


class JobResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A job as it stands. Once it has ended there are `outputs`, or where they can be fetched, or `error`."""

    job_id: str
    state: JobState
    usage: JobUsage
    outputs: Any = msgspec.UNSET
    result_url: str | msgspec.UnsetType = msgspec.UNSET
    result_url_expires_at: datetime | msgspec.UnsetType = msgspec.UNSET
    error: JobFailure | msgspec.UnsetType = msgspec.UNSET


class InferResult(JobResult, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A job, and what is left of each limit after it."""

    quota: dict[str, Left]
    repeated: bool
    cached: bool


class QuotaResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left of each limit."""

    quota: dict[str, Left]


class ShownToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An API token, without the token."""

    token_id: str
    label: str
    scopes: list[str]
    budget: Budget
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    state: Literal["active", "expired", "revoked"]


class TokensResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the action answers: `create` and `revoke` a token's own fields, `list` all of them, `delete` the id."""

    tokens: list[ShownToken] | msgspec.UnsetType = msgspec.UNSET
    token: str | msgspec.UnsetType = msgspec.UNSET
    """The one time that it is shown."""
    token_id: str | msgspec.UnsetType = msgspec.UNSET
    label: str | msgspec.UnsetType = msgspec.UNSET
    scopes: list[str] | msgspec.UnsetType = msgspec.UNSET
    budget: Budget | msgspec.UnsetType = msgspec.UNSET
    created_at: datetime | msgspec.UnsetType = msgspec.UNSET
    expires_at: datetime | msgspec.UnsetType = msgspec.UNSET
    last_used_at: datetime | msgspec.UnsetType | None = msgspec.UNSET
    revoked_at: datetime | msgspec.UnsetType | None = msgspec.UNSET
    state: Literal["active", "expired", "revoked"] | msgspec.UnsetType = msgspec.UNSET


class CallableShape(msgspec.Struct, frozen=True, kw_only=True):
    """One callable."""

    summary: str
    request: Any
    """What is in `data`."""
    response: Any
    """What is in `result`."""


CALLABLES = {
    "infer": CallableShape(
        summary="Run a request on the model",
        request=InferRequest,
        response=InferResult,
    ),
    "submit": CallableShape(
        summary="Let a request run on the model without waiting for it",
        request=InferRequest,
        response=InferResult,
    ),
    "job": CallableShape(summary="Tell how a job stands", request=JobName, response=JobResult),
    "cancel": CallableShape(summary="Stop a job", request=JobName, response=JobResult),
    "quota": CallableShape(
        summary="Tell what is left, without counting as a use",
        request=NoPayload | None,
        response=QuotaResult,
    ),
    "tokens": CallableShape(
        summary="Make, list, revoke and delete API tokens",
        request=TokensRequest,
        response=TokensResult,
    ),
}
