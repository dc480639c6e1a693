"""`POST /v1/embeddings`, as OpenAI's clients send it."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gate.domain.request import InferRequest
from gate.endpoints.api.answered import check_model, outputs_of, task_told
from gate.endpoints.api.routes import Asked, Reply
from gate.errors import InvalidRequestError, JobFailedError
from gate.service import Gate

_NO_VECTORS = "This model does not make embeddings."
Text = Annotated[str, Meta(min_length=1)]
TOKENS_HINT = "Tokens are not taken, because each model has its own: send a text, or a list of texts."


class EmbeddingsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Texts to turn into vectors."""

    input: Text | Annotated[list[Text], Meta(min_length=1)]
    model: Annotated[str, Meta(min_length=1, max_length=200)]
    encoding_format: Literal["float", "base64"] = "float"
    """`base64` is little-endian 32-bit floats: a quarter of the bytes."""
    dimensions: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """The first so many of a vector, made unit length again: for models that were trained to be cut."""
    user: Annotated[str, Meta(max_length=1_000)] | None = None
    """Taken for compatibility; who asks is told by the credential."""


class Embedding(msgspec.Struct, frozen=True, kw_only=True):
    """One text's vector, of unit length."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class EmbeddingsUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens that went through the model."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors, in the order of the texts."""

    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage
    object: Literal["list"] = "list"


class EmbeddingsEndpoint:
    """Asks the model for vectors."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._length = 0
        """Of the model's vectors, once one was seen: a request for more is then refused before it costs anything."""

    async def __call__(self, asked: Asked) -> Reply:
        """Answer one request."""
        payload: EmbeddingsRequest = asked.payload
        check_model(payload.model, self._gate)
        if payload.dimensions and self._length:
            _check_dimensions(payload.dimensions, self._length)
        # Texts are sent as a list, so that the answer has one shape.
        texts = [payload.input] if isinstance(payload.input, str) else payload.input
        request = InferRequest(
            inputs=list(texts), parameters={"normalize": True}, idempotency_key=asked.idempotency_key
        )
        with task_told("normalize", _NO_VECTORS):
            answer = await self._gate.infer(asked.caller, request, size_bytes=asked.size_bytes)
        vectors = _vectors(outputs_of(answer, asked), len(texts))
        self._length = len(vectors[0])
        tokens = answer.job.spent.tokens if answer.job.spent else 0
        body = EmbeddingsAnswer(
            data=[
                Embedding(index=index, embedding=_encoded(_cut(vector, payload.dimensions), payload.encoding_format))
                for index, vector in enumerate(vectors)
            ],
            model=self._gate.model_name,
            usage=EmbeddingsUsage(prompt_tokens=tokens, total_tokens=tokens),
        )
        return Reply(body=body, quota=answer.quota)


def _vectors(outputs: Any, count: int) -> list[list[float]]:
    """Return what a model that embeds has answered.

    Raises:
        JobFailedError: it does not embed.
    """
    try:
        vectors: list[list[float]] = msgspec.convert(outputs, list[Annotated[list[float], Meta(min_length=1)]])
        if len(vectors) == count:
            return vectors
    except msgspec.ValidationError as exc:
        raise JobFailedError("the outputs are no vectors", public_message=_NO_VECTORS) from exc
    raise JobFailedError("there are not as many vectors as texts", public_message=_NO_VECTORS)


def _check_dimensions(wanted: int, there: int) -> None:
    if wanted > there:
        raise InvalidRequestError(f"dimensions is {wanted}, and this model's vectors have {there}")


def _cut(vector: Sequence[float], dimensions: int | None) -> Sequence[float]:
    if dimensions is None or dimensions == len(vector):
        return vector
    _check_dimensions(dimensions, len(vector))
    cut = vector[:dimensions]
    length = math.hypot(*cut)
    return [value / length for value in cut] if length else cut


def _encoded(vector: Sequence[float], encoding: str) -> list[float] | str:
    if encoding == "float":
        return list(vector)
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
