"""`POST /v1/chat/completions`: the next turn of a conversation, at once or as a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gate.domain.request import InferRequest
from gate.endpoints.api.answered import check_model, outputs_of
from gate.endpoints.api.generation import (
    DONE,
    FinishReason,
    WritingRequest,
    WritingUsage,
    answered,
    check_writing,
    id_of,
    pieces,
    written,
)
from gate.endpoints.api.routes import Asked, Events, Reply
from gate.ports import Clock
from gate.service import Gate


class TextPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A piece of a message. Only text is taken."""

    type: Literal["text"]
    text: str


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Meta(min_length=1)]
    name: str | None = None
    refusal: None = None
    """As it comes in an answer that is sent back; so are the next."""
    annotations: Annotated[list[Any], Meta(max_length=0)] | None = None
    audio: None = None
    function_call: None = None
    tool_calls: None = None

    def as_input(self) -> dict[str, str]:
        """Return it as the worker reads it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class TextFormat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the answer is to be written. Only as text."""

    type: Literal["text"]


class ChatRequest(WritingRequest, frozen=True, kw_only=True):
    """A conversation to continue."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """OpenAI's newer name of `max_tokens`; where both are there, this one counts."""
    response_format: TextFormat | None = None


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The message that the model wrote."""

    content: str
    role: Literal["assistant"] = "assistant"
    refusal: None = None


class ChatChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The one answer that there is."""

    message: Answered
    finish_reason: FinishReason
    index: int = 0
    logprobs: None = None


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """The next turn."""

    id: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: WritingUsage
    object: Literal["chat.completion"] = "chat.completion"


class Delta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The next piece of the message."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(msgspec.Struct, frozen=True, kw_only=True):
    """What is new in a stream."""

    delta: Delta
    finish_reason: FinishReason | None = None
    index: int = 0
    logprobs: None = None


class ChatChunk(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a stream."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: WritingUsage | None = None
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"


class ChatEndpoint:
    """Asks the model for the next turn."""

    def __init__(self, gate: Gate, *, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock

    async def __call__(self, asked: Asked) -> Reply | Events:
        """Answer one request."""
        payload: ChatRequest = asked.payload
        check_model(payload.model, self._gate)
        check_writing(payload)
        new_tokens_max = payload.max_completion_tokens or payload.max_tokens
        request = InferRequest(
            inputs=[message.as_input() for message in payload.messages],
            parameters=payload.parameters(new_tokens_max=new_tokens_max),
            idempotency_key=asked.idempotency_key,
        )
        if payload.stream:
            return self._events(asked, request)
        answer = await answered(self._gate, asked, request)
        [one] = written(outputs_of(answer, asked))
        body = ChatCompletion(
            id=id_of(answer, "chatcmpl"),
            created=self._now(),
            model=self._gate.model_name,
            choices=[ChatChoice(message=Answered(content=one.text), finish_reason=one.finish_reason)],
            usage=one.usage,
        )
        return Reply(body=body, quota=answer.quota)

    async def _events(self, asked: Asked, request: InferRequest) -> AsyncGenerator[bytes, None]:
        payload: ChatRequest = asked.payload
        name = f"chatcmpl-{asked.request_id}"
        began = False
        async with aclosing(pieces(self._gate, asked, request)) as steps:
            async for step in steps:
                if not began:
                    began = True
                    yield self._event(name, Delta(role="assistant", content=""))
                if isinstance(step, str):
                    yield self._event(name, Delta(content=step))
                    continue
                yield self._event(name, Delta(), step.finish_reason)
                if payload.wants_usage:
                    yield msgspec.json.encode(self._chunk(name, [], step.usage))
        yield DONE

    def _event(self, name: str, delta: Delta, reason: FinishReason | None = None) -> bytes:
        return msgspec.json.encode(self._chunk(name, [ChunkChoice(delta=delta, finish_reason=reason)]))

    def _chunk(self, name: str, choices: list[ChunkChoice], usage: WritingUsage | None = None) -> ChatChunk:
        return ChatChunk(id=name, created=self._now(), model=self._gate.model_name, choices=choices, usage=usage)

    def _now(self) -> int:
        return int(self._clock.now().timestamp())
