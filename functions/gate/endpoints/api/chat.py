"""`POST /v1/chat/completions`: the next turn of a conversation, at once or as a stream."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gate.endpoints.api.generation import FinishReason, WritingRequest, WritingUsage, Written
from gate.endpoints.api.writing import Head


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


class ChatStyle:
    """A `Style`: the model takes the next turn."""

    prefix = "chatcmpl"

    def asked(self, payload: ChatRequest) -> tuple[Any, dict[str, Any]]:
        """See `Style.asked`."""
        new_tokens_max = payload.max_completion_tokens or payload.max_tokens
        messages = [message.as_input() for message in payload.messages]
        return messages, payload.parameters(new_tokens_max=new_tokens_max)

    def whole(self, head: Head, texts: list[Written]) -> ChatCompletion:
        """See `Style.whole`."""
        [one] = texts
        choice = ChatChoice(message=Answered(content=one.text), finish_reason=one.finish_reason)
        return ChatCompletion(**head, choices=[choice], usage=one.usage)

    def opening(self, head: Head) -> ChatChunk:
        """See `Style.opening`."""
        return ChatChunk(**head, choices=[ChunkChoice(delta=Delta(role="assistant", content=""))])

    def piece(self, head: Head, text: str, reason: FinishReason | None = None) -> ChatChunk:
        """See `Style.piece`."""
        delta = Delta() if reason else Delta(content=text)
        return ChatChunk(**head, choices=[ChunkChoice(delta=delta, finish_reason=reason)])

    def usage(self, head: Head, usage: WritingUsage) -> ChatChunk:
        """See `Style.usage`."""
        return ChatChunk(**head, choices=[], usage=usage)
