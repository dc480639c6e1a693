"""What a model that writes is given: a text, several, or a conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.engines.inputs import Texts, check_text, kind, read_texts
from worker.errors import InputError
from worker.settings import Limits

_ROLES = ("system", "user", "assistant")
_ACCEPTED = "inputs must be a string, a list of strings, or a list of messages with role and content"

Template = Callable[[Sequence[Mapping[str, str]]], str]
"""Turns a conversation into a prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What is to be continued."""

    texts: Texts
    is_chat: bool
    """Whether the texts were made by a template, which puts special tokens where they belong."""


def read_prompts(inputs: Any, limits: Limits, template: Template | None) -> Prompts:
    """Read a request's inputs.

    Raises:
        InputError: they are neither texts nor a conversation, or the model knows no conversations.
    """
    if not (isinstance(inputs, list) and inputs and isinstance(inputs[0], dict)):
        texts = read_texts(inputs, limits)
        for index, text in enumerate(texts.texts):
            if not text:
                raise InputError(f"{texts.name(index)} is empty; there is nothing to continue")
        return Prompts(texts=texts, is_chat=False)
    if template is None:
        raise InputError("this model has no chat template; send the prompt as a string")
    messages = [_message(each, index, limits) for index, each in enumerate(inputs)]
    if len(messages) > limits.items_max:
        raise InputError(f"inputs has {len(messages)} messages, and may have {limits.items_max}")
    try:
        prompt = template(messages)
    except Exception as exc:
        # The template is the model's: it refuses roles in an order that it was not trained on.
        line = (str(exc).splitlines() or [type(exc).__name__])[0][:200]
        raise InputError(f"the model's chat template refuses these messages: {line!a}") from exc
    return Prompts(texts=Texts(texts=(prompt,), single=True), is_chat=True)


def _message(message: Any, index: int, limits: Limits) -> Mapping[str, str]:
    name = f"inputs[{index}]"
    if not isinstance(message, dict):
        raise InputError(f"{name} is {kind(message)}; {_ACCEPTED}")
    if set(message) != {"role", "content"}:
        raise InputError(f"{name} must have role and content, and nothing else")
    if message["role"] not in _ROLES:
        raise InputError(f"{name}.role must be one of: {', '.join(_ROLES)}")
    check_text(message["content"], f"{name}.content", limits, accepted="it must be a string")
    return message
