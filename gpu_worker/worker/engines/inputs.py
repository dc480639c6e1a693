"""What the text tasks take: reads a job's inputs and parameters, or says in one line what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.errors import InputError
from worker.settings import Limits

_ACCEPTED = "inputs must be a string or a list of strings"
_UNREADABLE = re.compile("[\x00\ud800-\udfff]")
_NAME_CHARS_MAX = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """One text or several; how they came is how the answer goes back."""

    texts: tuple[str, ...]
    single: bool

    def name(self, index: int) -> str:
        """Return what the sender calls a text, for messages."""
        return "inputs" if self.single else f"inputs[{index}]"

    def shape(self, rows: Sequence[Any]) -> Any:
        """Return one answer for one text, or a list of answers for a list."""
        return rows[0] if self.single else list(rows)


def read_texts(inputs: Any, limits: Limits) -> Texts:
    """Read a job's inputs.

    Raises:
        InputError: they are not text that a tokenizer can read, or too many, or too long.
    """
    if isinstance(inputs, str):
        texts = Texts(texts=(inputs,), single=True)
    elif isinstance(inputs, list):
        texts = Texts(texts=tuple(inputs), single=False)
    else:
        raise InputError(f"{_ACCEPTED}, not {kind(inputs)}")
    if not 0 < len(texts.texts) <= limits.items_max:
        raise InputError(f"inputs has {len(texts.texts)} texts, and must have from 1 to {limits.items_max}")
    for index, text in enumerate(texts.texts):
        check_text(text, texts.name(index), limits, accepted=_ACCEPTED)
    return texts


def check_text(text: Any, name: str, limits: Limits, *, accepted: str) -> None:
    """Refuse what is no text that a tokenizer can read, or too long.

    Raises:
        InputError: it is; of another type, the message goes on with what is accepted.
    """
    if not isinstance(text, str):
        raise InputError(f"{name} is {kind(text)}; {accepted}")
    if len(text) > limits.item_chars_max:
        raise InputError(f"{name} has {len(text)} characters, and may have {limits.item_chars_max}")
    unreadable = _UNREADABLE.search(text)
    if unreadable:
        what = "a NUL character" if unreadable[0] == "\x00" else "half a surrogate pair, which is no Unicode text,"
        raise InputError(f"{name} has {what} at position {unreadable.start()}")


def read_object(value: Any, name: str, fields: Sequence[str]) -> Mapping[str, Any]:
    """Return an object that has these fields and no others.

    Raises:
        InputError: it is something else, or lacks a field, or has another.
    """
    wanted = " and ".join(fields)
    if not isinstance(value, dict):
        raise InputError(f"{name} must be an object with {wanted}, not {kind(value)}")
    missing = [field for field in fields if field not in value]
    if missing:
        raise InputError(f"{name} has no {missing[0]}; it must be an object with {wanted}")
    unknown = [field for field in value if field not in fields]
    if unknown:
        # !a keeps the message one line of plain text whatever the name holds.
        raise InputError(f"{name} has an unknown field {unknown[0][:_NAME_CHARS_MAX]!a}; it takes {wanted}")
    return value


def read_text(value: Any, name: str, limits: Limits) -> str:
    """Return a text that a tokenizer can read.

    Raises:
        InputError: it is something else, or too long.
    """
    check_text(value, name, limits, accepted="it must be a string")
    return str(value)


def read_list(value: Any, name: str, limits: Limits) -> list[str]:
    """Return a list of one text or more.

    Raises:
        InputError: it is something else, or too long, or one of its texts is.
    """
    if not isinstance(value, list):
        raise InputError(f"{name} must be a list of strings, not {kind(value)}")
    if not 0 < len(value) <= limits.items_max:
        raise InputError(f"{name} has {len(value)} texts, and must have from 1 to {limits.items_max}")
    return [read_text(text, f"{name}[{index}]", limits) for index, text in enumerate(value)]


class Parameters:
    """A job's parameters, read one at a time. Those that the task does not know are refused at once.

    A misspelt parameter that is passed over would give an answer that is wrong without saying so.
    """

    def __init__(self, parameters: Mapping[str, Any], *, known: Sequence[str]) -> None:
        unknown = [name for name in parameters if name not in known]
        if unknown:
            # ascii() keeps the message one line of plain text whatever the name holds.
            name = ascii(unknown[0][:_NAME_CHARS_MAX])
            raise InputError(f"unknown parameter {name}; this model's task takes: {', '.join(known)}")
        self._parameters = parameters

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a parameter that is true or false."""
        value = self._parameters.get(name, default)
        if not isinstance(value, bool):
            raise InputError(f"parameter {name} must be true or false, not {kind(value)}")
        return value

    def count(self, name: str) -> int | None:
        """Return a parameter that is a whole number of 1 or more, or None where it is null or absent."""
        value = self._parameters.get(name)
        if value is None:
            return None
        # In Python true is a number; in JSON it is not.
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"parameter {name} must be null or a whole number of 1 or more")
        return value

    def choice(self, name: str, choices: Sequence[str], *, default: str) -> str:
        """Return a parameter that is one of a few words."""
        value = self._parameters.get(name, default)
        if value not in choices:
            raise InputError(f"parameter {name} must be one of: {', '.join(choices)}")
        return str(value)


def kind(value: Any) -> str:
    """Return what JSON calls a value's type, for messages."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
