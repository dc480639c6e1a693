"""`POST /v1/completions`: continues a text, at once or as a stream."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gate.endpoints.api.embeddings import Text
from gate.endpoints.api.generation import FinishReason, WritingRequest, WritingUsage, Written, total
from gate.endpoints.api.writing import Head
from gate.errors import InvalidRequestError

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


class CompletionStyle:
    """A `Style`: the model goes on."""

    prefix = "cmpl"

    def asked(self, payload: CompletionRequest) -> tuple[Any, dict[str, Any]]:
        """See `Style.asked`."""
        parameters = payload.parameters(new_tokens_max=payload.max_tokens or _NEW_TOKENS_DEFAULT)
        if payload.echo:
            parameters["return_full_text"] = True
        return _inputs(payload), parameters

    def whole(self, head: Head, texts: list[Written]) -> Completion:
        """See `Style.whole`."""
        choices = [
            CompletionChoice(index=index, text=one.text, finish_reason=one.finish_reason)
            for index, one in enumerate(texts)
        ]
        return Completion(**head, choices=choices, usage=total([one.usage for one in texts]))

    def opening(self, head: Head) -> None:
        """See `Style.opening`."""

    def piece(self, head: Head, text: str, reason: FinishReason | None = None) -> Completion:
        """See `Style.piece`."""
        return Completion(**head, choices=[CompletionChoice(index=0, text=text, finish_reason=reason)])

    def usage(self, head: Head, usage: WritingUsage) -> Completion:
        """See `Style.usage`."""
        return Completion(**head, choices=[], usage=usage)


def _inputs(payload: CompletionRequest) -> Any:
    """A stream is of one prompt."""
    if isinstance(payload.prompt, str) or not payload.stream:
        return payload.prompt
    if len(payload.prompt) > 1:
        raise InvalidRequestError("a stream is of one prompt; send one at a time, or without stream")
    return payload.prompt[0]
