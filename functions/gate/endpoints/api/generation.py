"""What `/v1/completions` and `/v1/chat/completions` share: OpenAI's words for how to write, and what was written."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gate.errors import InvalidRequestError, JobFailedError

FinishReason = Literal["stop", "length"]
Stop = Annotated[str, Meta(min_length=1, max_length=200)]
Zero = Annotated[float, Meta(ge=0, le=0)]
NO_TEXTS = "This model does not write texts."


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a stream tells beside the text."""

    include_usage: bool = False


class WritingRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model is to write. What this model cannot do is refused, and never silently left out."""

    model: Annotated[str, Meta(min_length=1, max_length=200)]
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    """0 takes the likeliest token each time."""
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=4)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    n: Annotated[int, Meta(ge=1, le=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None
    user: Annotated[str, Meta(max_length=1_000)] | None = None
    """Taken for compatibility; who asks is told by the credential."""

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with what was used."""
        return self.stream_options is not None and self.stream_options.include_usage

    def parameters(self, *, new_tokens_max: int | None) -> dict[str, Any]:
        """Return the same in the worker's words."""
        greedy = self.temperature == 0
        said = {
            "max_new_tokens": new_tokens_max,
            "do_sample": False if greedy else None,
            "temperature": None if greedy else self.temperature,
            "top_p": None if greedy else self.top_p,
            "stop": self.stop or None,
            "seed": self.seed,
            "return_full_text": False,
        }
        return {name: value for name, value in said.items() if value is not None}


class WritingUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens that were read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """One text that a model wrote."""

    text: str
    finish_reason: FinishReason
    usage: WritingUsage


class _Details(msgspec.Struct):
    prompt_tokens: int = 0
    generated_tokens: int = 0
    finish_reason: str = "eos_token"


class _Generated(msgspec.Struct):
    generated_text: str
    details: _Details = msgspec.field(default_factory=_Details)


def check_writing(request: WritingRequest) -> None:
    """Refuse what no field by itself shows to be wrong.

    Raises:
        InvalidRequestError: it is.
    """
    if request.stream_options is not None and not request.stream:
        raise InvalidRequestError("stream_options is for streams: set stream too")


def written(outputs: Any) -> list[Written]:
    """Return the texts that a model answered for one prompt, or for several.

    Raises:
        JobFailedError: it does not write texts.
    """
    groups = outputs if isinstance(outputs, list) and outputs and isinstance(outputs[0], list) else [outputs]
    try:
        generated = [msgspec.convert(group, list[_Generated])[0] for group in groups]
    except (msgspec.ValidationError, IndexError) as exc:
        raise JobFailedError("the outputs are no texts", public_message=NO_TEXTS) from exc
    return [_written(one) for one in generated]


def total(usages: list[WritingUsage]) -> WritingUsage:
    """Return what several prompts used together."""
    return WritingUsage(
        prompt_tokens=sum(one.prompt_tokens for one in usages),
        completion_tokens=sum(one.completion_tokens for one in usages),
        total_tokens=sum(one.total_tokens for one in usages),
    )


def _written(one: _Generated) -> Written:
    read, wrote = one.details.prompt_tokens, one.details.generated_tokens
    return Written(
        text=one.generated_text,
        finish_reason="length" if one.details.finish_reason == "length" else "stop",
        usage=WritingUsage(prompt_tokens=read, completion_tokens=wrote, total_tokens=read + wrote),
    )
