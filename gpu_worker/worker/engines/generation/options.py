"""What a request may ask of a model that writes. The model's own `generation_config` says what holds otherwise."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.engines.inputs import Parameters
from worker.errors import InputError

NEW_TOKENS_DEFAULT = 256
_STOPS_MAX = 8
_STOP_CHARS_MAX = 200
_SEED_MAX = 2**63
_TEMPERATURE_MAX = 100.0
_PENALTY_MAX = 100.0
_LEAST = 1e-6
"""Of a number that a model's scores are divided by: by a lesser one they are infinite, and no token can be chosen."""

_KNOWN = (
    "max_new_tokens",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "repetition_penalty",
    "seed",
    "stop",
    "return_full_text",
    "truncate",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen."""

    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    """0 is all of them."""
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is the one, and nothing else counts."""
        return not self.do_sample and self.repetition_penalty == 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """A request's options."""

    sampling: Sampling
    new_tokens_max: int | None
    """None if the request does not say."""
    stops: tuple[str, ...]
    full_text: bool
    """Whether the answer begins with the prompt."""
    truncate: bool
    """Whether a prompt that is too long loses its beginning, instead of being refused."""


def read_options(parameters: Mapping[str, Any], config: Any) -> Options:
    """Read a request's parameters.

    Args:
        parameters: as they came.
        config: the model's `generation_config`.

    Raises:
        InputError: one is unknown, or not what it must be.
    """
    read = Parameters(parameters, known=_KNOWN)
    asked = any(parameters.get(name) is not None for name in ("temperature", "top_k", "top_p"))
    sampling = Sampling(
        # Whoever names a temperature wants it to count.
        do_sample=read.flag("do_sample", default=asked or bool(_said(config, "do_sample", False))),
        temperature=_number(parameters, "temperature", _said(config, "temperature", 1.0), most=_TEMPERATURE_MAX),
        top_k=read.count("top_k") or int(_said(config, "top_k", 0) or 0),
        top_p=_number(parameters, "top_p", _said(config, "top_p", 1.0), most=1.0),
        repetition_penalty=_number(
            parameters, "repetition_penalty", _said(config, "repetition_penalty", 1.0), most=_PENALTY_MAX
        ),
        seed=_seed(parameters),
    )
    return Options(
        sampling=sampling,
        new_tokens_max=read.count("max_new_tokens"),
        stops=_stops(parameters.get("stop")),
        full_text=read.flag("return_full_text", default=False),
        truncate=read.flag("truncate", default=False),
    )


def _said(config: Any, name: str, default: Any) -> Any:
    value = getattr(config, name, None)
    return default if value is None else value


def _number(parameters: Mapping[str, Any], name: str, default: float, *, most: float) -> float:
    value = parameters.get(name)
    if value is None:
        return float(default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _LEAST <= value <= most:
        raise InputError(f"parameter {name} must be a number from {_LEAST:f} to {most:g}")
    return float(value)


def _seed(parameters: Mapping[str, Any]) -> int:
    seed = parameters.get("seed")
    if seed is None:
        return random.randrange(_SEED_MAX)  # noqa: S311  # it chooses words, and guards nothing
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < _SEED_MAX:
        raise InputError(f"parameter seed must be a whole number from 0 to {_SEED_MAX - 1}")
    return seed


def _stops(stop: Any) -> tuple[str, ...]:
    stops: Sequence[Any] = () if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, (list, tuple)) or len(stops) > _STOPS_MAX:
        raise InputError(f"parameter stop must be a string, or a list of up to {_STOPS_MAX}")
    for each in stops:
        if not isinstance(each, str) or not 0 < len(each) <= _STOP_CHARS_MAX:
            raise InputError(f"parameter stop must be of strings of 1 to {_STOP_CHARS_MAX} characters")
    return tuple(stops)
