"""What a caller asks of a model, and the limits on its size that are checked before anything is spent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gate.domain.plan import Plan
from gate.errors import InvalidRequestError
from gate.wire import WorkBody

_Something = Meta(min_length=1)
Inputs = (
    Annotated[str, _Something]
    | Annotated[list[str | dict[str, Any]], _Something]
    | Annotated[dict[str, Any], _Something]
)

_ESCAPED_BYTES_PER_BYTE = 6
"""JSON may write one byte as \\u0041; what is counted is the text."""
_AROUND_INPUTS_BYTES = 2_000
"""The idempotency key, the model's name and the braces."""


class InferRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The payload of `infer`."""

    inputs: Inputs
    """A text or an object, or a list of them, as the model's task takes it."""
    parameters: dict[str, Any] = {}
    model: Annotated[str, Meta(max_length=200)] | None = None
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    """The same key with the same payload is the same job, whenever it comes."""

    def body(self, model: str, *, stream: bool = False) -> bytes:
        """Return what the worker is sent.

        Raises:
            InvalidRequestError: the text is no Unicode text, or it is nested too deeply to be written as JSON.
        """
        try:
            return WorkBody(model=model, inputs=self.inputs, parameters=self.parameters, stream=stream).encode()
        except UnicodeEncodeError as exc:
            raise InvalidRequestError("inputs hold a lone surrogate, which is no Unicode character") from exc
        except RecursionError as exc:
            raise InvalidRequestError("inputs or parameters are nested too deeply") from exc


def payload_digest(body: bytes) -> str:
    """Return what tells one payload from another under the same idempotency key."""
    return hashlib.sha256(body).hexdigest()


def check_size(request: InferRequest, body: bytes, plan: Plan) -> None:
    """Refuse inputs that are over the plan's limits, or empty.

    Raises:
        InvalidRequestError: names the limit, what was sent, and what is allowed.
    """
    if not request.inputs:
        raise InvalidRequestError("inputs is empty: send a text, or a list with at least one")
    items = 1 if isinstance(request.inputs, str) else len(request.inputs)
    _check("input_items_max", items, plan.input_items_max, "items")
    _check("input_bytes_max", len(body), plan.input_bytes_max, "bytes")
    characters = sum(len(text) for text in _texts(request.inputs))
    _check("input_characters_max", characters, plan.input_characters_max, "characters")


def check_raw_size(size_bytes: int, plan: Plan) -> None:
    """Refuse a request that must be over the plan's bytes, however it was written.

    Asked before `check_size`, which takes time that grows with the request.

    Raises:
        InvalidRequestError: as `check_size`.
    """
    if size_bytes > _ESCAPED_BYTES_PER_BYTE * plan.input_bytes_max + _AROUND_INPUTS_BYTES:
        _check("input_bytes_max", size_bytes, plan.input_bytes_max, "bytes")


def _check(limit: str, sent: int, allowed: int, unit: str) -> None:
    if sent > allowed:
        raise InvalidRequestError(
            f"inputs are too large: {sent} {unit}, and your plan allows {allowed}",
            details={"limit": limit, "limit_value": allowed, "sent": sent},
        )


def _texts(inputs: Any) -> Iterator[str]:
    """Yield every text in a JSON value, keys included. Without recursion: a caller chooses how deep a value is."""
    waiting = [inputs]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += (*value, *value.values())
