"""Sequence to sequence: translation, summarisation, and text to text, in batches of like options.

The library's own `generate` writes, so that beams, forced tokens and everything else in the model's
`generation_config` hold exactly.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from gate import wire
from worker.engine import Item, Work
from worker.engines.general.text import TextEngine, to_items
from worker.engines.inputs import Parameters, read_texts
from worker.errors import InputError, ModelError
from worker.hardware.failures import device_errors
from worker.settings import Hardware, Limits, Task

_BEAMS_MAX = 16
_NEW_TOKENS_MAX = 4_096
_PENALTY_MIN, _PENALTY_MAX = 0.01, 100.0
_KNOWN = (
    "max_new_tokens",
    "min_new_tokens",
    "num_beams",
    "do_sample",
    "length_penalty",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "truncate",
)
_ANSWERS = {
    Task.TRANSLATION: "translation_text",
    Task.SUMMARIZATION: "summary_text",
    Task.TEXT2TEXT_GENERATION: "generated_text",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What `generate` is told beside the model's own configuration; None is what that says."""

    max_new_tokens: int | None
    num_beams: int | None
    do_sample: bool | None
    min_new_tokens: int | None
    length_penalty: float | None
    repetition_penalty: float | None
    no_repeat_ngram_size: int | None
    forced_bos_token_id: int | None
    """The language to write."""

    def told(self) -> dict[str, Any]:
        """Return the arguments of `generate`."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    text: str
    tokens: int


class Seq2SeqEngine(TextEngine[_Options]):
    """Takes a text or a list of texts, and returns `[{"translation_text": …}]` for each, or what the task calls it.

    Parameters: `max_new_tokens`, `min_new_tokens`, `num_beams`, `do_sample`, `length_penalty`, `repetition_penalty`,
    `no_repeat_ngram_size` (defaults: the model's own), `truncate` (default true), and `src_lang` and `tgt_lang` where
    the model's tokenizer knows languages.
    """

    auto_class = "AutoModelForSeq2SeqLM"
    sample_parameters: ClassVar[Mapping[str, Any]] = {"max_new_tokens": 2}

    def __init__(
        self,
        task: Task,
        folder: Path,
        limits: Limits,
        hardware: Hardware | None = None,
        *,
        languages: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(folder, limits, hardware)
        self._task = task
        self._languages = languages
        self._prefix = ""
        self._own_language: str | None = None
        self._choosing_language = threading.Lock()

    def load(self) -> None:
        """Read tokenizer and weights onto the device."""
        super().load()
        self._own_language = getattr(self._tokenizer, "src_lang", None)
        self._prefix = self._find_prefix(getattr(self._model.config, "task_specific_params", None) or {})
        try:
            self.read_options({})
        except InputError as exc:
            raise ModelError(f"TASK names a language that the model does not know: {exc}") from None

    def _find_prefix(self, tasks: Mapping[str, Mapping[str, Any]]) -> str:
        """Return what a model of several tasks tells this one by.

        Raises:
            ModelError: it knows translations, and the owner's is none of them.
        """
        named = [name for name in tasks if name == self._task or name.startswith(f"{self._task}_")]
        if named and self._languages:
            asked = "translation_{}_to_{}".format(*self._languages)
            if asked not in named:
                raise ModelError(f"TASK={asked} is not among the model's own: {', '.join(named)}")
            named = [asked]
        # Of several translations the sender has to write the prefix.
        return tasks[named[0]].get("prefix") or "" if len(named) == 1 else ""

    def read_options(self, parameters: Mapping[str, Any]) -> tuple[_Options, bool]:
        """Return what `generate` is told, and whether to truncate."""
        parameters = self._with_languages(parameters)
        languages = ("src_lang", "tgt_lang") if self._knows_languages else ()
        read = Parameters(parameters, known=(*_KNOWN, *languages))
        beams, new_tokens = read.count("num_beams"), read.count("max_new_tokens")
        if beams is not None and beams > _BEAMS_MAX:
            raise InputError(f"parameter num_beams may be up to {_BEAMS_MAX}")
        if new_tokens is not None and new_tokens > _NEW_TOKENS_MAX:
            raise InputError(f"parameter max_new_tokens may be up to {_NEW_TOKENS_MAX}")
        self._language(parameters, "src_lang")
        options = _Options(
            max_new_tokens=new_tokens,
            num_beams=beams,
            min_new_tokens=read.count("min_new_tokens"),
            length_penalty=_number(parameters, "length_penalty", least=-_PENALTY_MAX),
            repetition_penalty=_number(parameters, "repetition_penalty", least=_PENALTY_MIN),
            no_repeat_ngram_size=read.count("no_repeat_ngram_size"),
            do_sample=read.flag("do_sample", default=False) if "do_sample" in parameters else None,
            forced_bos_token_id=self._language(parameters, "tgt_lang"),
        )
        return options, read.flag("truncate", default=True)

    def prepare(self, body: wire.WorkBody) -> Work:
        """Read a request's texts and turn them into tokens."""
        options, truncate = self.read_options(body.parameters)
        texts = read_texts(body.inputs, self._limits)
        prefixed = replace(texts, texts=tuple(self._prefix + text for text in texts.texts))
        encoded = self._encode_from(
            self._with_languages(body.parameters).get("src_lang"), prefixed, truncate=truncate
        )
        return Work(
            items=to_items(encoded, options),
            finish=lambda rows: texts.shape([[{_ANSWERS[self._task]: row.text}] for row in rows]),
            written=lambda rows: sum(row.tokens for row in rows),
        )

    def rows(self, output: Any, mask: Any, options: _Options) -> list[Any]:  # noqa: ARG002  # as the base has it
        """Return each row of tokens as text."""
        texts = self._tokenizer.batch_decode(output, skip_special_tokens=True)
        # What begins an answer was given; what fills up a short one was not written.
        given = {self._tokenizer.pad_token_id, self._model.generation_config.decoder_start_token_id}
        counts = [sum(token not in given for token in row) for row in output.tolist()]
        return [_Answer(text=text, tokens=tokens) for text, tokens in zip(texts, counts, strict=True)]

    def _pass(self, items: Sequence[Item], options: _Options) -> list[Any]:
        """Write the answers to items at once, which are padded to the longest of them."""
        import torch  # seconds

        names = ("input_ids", "attention_mask")
        picked = {name: [item.payload[1][name] for item in items] for name in names}
        inputs = self._tokenizer.pad(picked, padding=True, return_tensors="pt").to(self._device)
        with device_errors(), torch.inference_mode():
            return self.rows(self._model.generate(**inputs, **options.told()), None, options)

    @property
    def _knows_languages(self) -> bool:
        return hasattr(self._tokenizer, "src_lang")

    def _with_languages(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the parameters with the languages that `TASK` names, where the sender does not."""
        if not (self._languages and self._knows_languages):
            return parameters
        source, target = self._languages
        return {"src_lang": source, "tgt_lang": target, **parameters}

    def _encode_from(self, source: str | None, texts: Any, *, truncate: bool) -> dict[str, Any]:
        """Return the texts' tokens, in a language if one is given."""
        if not self._knows_languages:
            return self._encode(texts, truncate=truncate)
        # The language is a state of the tokenizer's, so a job in another one must not come between.
        with self._choosing_language:
            self._tokenizer.src_lang = source or self._own_language
            return self._encode(texts, truncate=truncate)

    def _language(self, parameters: Mapping[str, Any], name: str) -> int | None:
        """Return the token of a language.

        Raises:
            InputError: the model's tokenizer does not know it.
        """
        code = parameters.get(name)
        if code is None:
            return None
        known = getattr(self._tokenizer, "lang_code_to_token", None) or {}
        token = self._tokenizer.convert_tokens_to_ids(known.get(code, code)) if isinstance(code, str) else None
        if token is None or token == self._tokenizer.unk_token_id:
            raise InputError(f"parameter {name} is no language that this model knows")
        return int(token)


def _number(parameters: Mapping[str, Any], name: str, *, least: float) -> float | None:
    value = parameters.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= _PENALTY_MAX:
        raise InputError(f"parameter {name} must be null or a number from {least:g} to {_PENALTY_MAX:g}")
    return float(value)
