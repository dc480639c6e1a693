"""`POST /v1/completions`: continues a text, at once or as a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gate.domain.request import InferRequest
from gate.endpoints.api.answered import check_model, outputs_of
from gate.endpoints.api.embeddings import Text
from gate.endpoints.api.generation import (
    DONE,
    FinishReason,
    WritingRequest,
    WritingUsage,
    answered,
    check_writing,
    id_of,
    pieces,
    total,
    written,
)
from gate.endpoints.api.routes import Asked, Events, Reply
from gate.errors import InvalidRequestError
from gate.ports import Clock
from gate.service import Gate

_NEW_TOKENS_DEFAULT = 16
"""OpenAI's."""


class CompletionRequest(WritingRequest, frozen=True, kw_only=True):
    """A text to continue, or several."""

    prompt: Text | Annotated[list[Text], Meta(min_length=1)]
    echo: bool | None = None
    """Whether the answer begins with the prompt."""
    best_of: Annotated[int, Meta(ge=1, le=1)] | None = None


class CompletionChoice(msgspec.Struct, frozen=True, kw_only=True):
    """What was written to one prompt."""

    index: int
    text: str
    finish_reason: FinishReason | None
    logprobs: None = None


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What was written, or the next piece of it."""

    id: str
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: WritingUsage | None = None
    object: Literal["text_completion"] = "text_completion"


class CompletionsEndpoint:
    """Asks the model to go on."""

    def __init__(self, gate: Gate, *, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock

    async def __call__(self, asked: Asked) -> Reply | Events:
        """Answer one request."""
        payload: CompletionRequest = asked.payload
        check_model(payload.model, self._gate)
        check_writing(payload)
        parameters = payload.parameters(new_tokens_max=payload.max_tokens or _NEW_TOKENS_DEFAULT)
        if payload.echo:
            parameters["return_full_text"] = True
        request = InferRequest(inputs=_inputs(payload), parameters=parameters, idempotency_key=asked.idempotency_key)
        if payload.stream:
            return self._events(asked, request)
        answer = await answered(self._gate, asked, request)
        texts = written(outputs_of(answer, asked))
        choices = [
            CompletionChoice(index=index, text=one.text, finish_reason=one.finish_reason)
            for index, one in enumerate(texts)
        ]
        usage = total([one.usage for one in texts])
        return Reply(body=self._completion(id_of(answer, "cmpl"), choices, usage=usage), quota=answer.quota)

    async def _events(self, asked: Asked, request: InferRequest) -> AsyncGenerator[bytes, None]:
        payload: CompletionRequest = asked.payload
        name = f"cmpl-{asked.request_id}"
        async with aclosing(pieces(self._gate, asked, request)) as steps:
            async for step in steps:
                if isinstance(step, str):
                    yield self._event(name, step, None)
                    continue
                yield self._event(name, "", step.finish_reason)
                if payload.wants_usage:
                    yield msgspec.json.encode(self._completion(name, [], usage=step.usage))
        yield DONE

    def _event(self, name: str, text: str, reason: FinishReason | None) -> bytes:
        choice = CompletionChoice(index=0, text=text, finish_reason=reason)
        return msgspec.json.encode(self._completion(name, [choice]))

    def _completion(self, name: str, choices: list[CompletionChoice], **more: Any) -> Completion:
        created = int(self._clock.now().timestamp())
        return Completion(id=name, created=created, model=self._gate.model_name, choices=choices, **more)


def _inputs(payload: CompletionRequest) -> Any:
    """A stream is of one prompt."""
    if isinstance(payload.prompt, str) or not payload.stream:
        return payload.prompt
    if len(payload.prompt) > 1:
        raise InvalidRequestError("a stream is of one prompt; send one at a time, or without stream")
    return payload.prompt[0]
