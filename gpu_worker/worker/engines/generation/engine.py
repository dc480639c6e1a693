"""Text generation: continues a text or a conversation, with whoever else is being answered."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gate import wire
from worker.engine import Item, Work, Written
from worker.engines.general.loading import lacking, load_model, load_tokenizer
from worker.engines.generation.options import NEW_TOKENS_DEFAULT, Options, Sampling, read_options
from worker.engines.generation.prompts import read_prompts
from worker.engines.generation.transcript import Transcript
from worker.errors import InputError, ModelError
from worker.hardware.failures import device_errors
from worker.log import EventLog
from worker.settings import Hardware, Limits

_CONTEXT_UNKNOWN = 4_096
_UNLIMITED = 10**9
"""Tokenizers write a larger number than this for "as much as you like"."""
_WARM_UP = "Once upon a time"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prompt:
    ids: list[int]
    options: Options
    new_tokens_max: int
    text: str
    """What the answer begins with, if the request wants that."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Live:
    """One item under way."""

    item: Item
    row: Any
    """A `running.Row`."""
    transcript: Transcript


class TextGenerationEngine:
    """Takes a text, a list of texts, or a conversation (`[{"role": …, "content": …}]`), and continues each.

    Returns for one of them `[{"generated_text": …, "details": {…}}]`, for a list of texts a list of that. The details
    are `generated_tokens`, `prompt_tokens` and `finish_reason`: `eos_token`, `stop_sequence` or `length`.

    Parameters: `max_new_tokens` (default 256, or what the context leaves), `do_sample`, `temperature`, `top_k`,
    `top_p`, `repetition_penalty` (defaults: the model's own), `seed`, `stop` (a string or up to 8; not part of the
    answer), `return_full_text` (default false), `truncate` (default false: a prompt that is too long is refused).
    """

    def __init__(self, folder: Path, limits: Limits, hardware: Hardware | None = None) -> None:
        self._folder = folder
        self._limits = limits
        self._hardware = hardware or Hardware()
        self._tokenizing = threading.Lock()
        self._tokenizer: Any = None
        self._model: Any = None
        self._device = ""
        self._ends: frozenset[int] = frozenset()
        self._context = _CONTEXT_UNKNOWN
        self._can_join = False
        """Whether rows can be laid side by side; if not, each is written by itself, though all in turns."""
        self._batches: list[Any] = []
        self._live: dict[int, _Live] = {}

    def import_libraries(self) -> None:
        """Import torch and transformers; it takes seconds, and is most of a start."""
        import transformers  # seconds

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        _ = (transformers.AutoTokenizer, transformers.AutoModelForCausalLM)

    def load(self) -> None:
        """Read tokenizer and weights onto the device."""
        self._tokenizer = load_tokenizer(self._folder)
        loaded = load_model(
            "AutoModelForCausalLM",
            self._folder,
            self._hardware,
            log=EventLog(),
            cache_tokens=self._limits.cache_tokens_max,
            batch_tokens=self._limits.batch_tokens_max,
        )
        if loaded.missing_weights:
            raise lacking(loaded.missing_weights)
        self._model, self._device = loaded.model, loaded.device
        self._ends = _ends(self._model.generation_config, self._tokenizer)
        self._context = _context(self._model.config, self._tokenizer)
        self._can_join = self._try_joining()

    def warm_up(self) -> None:
        """Write a few tokens."""
        work = self.prepare(wire.WorkBody(model="", inputs=_WARM_UP, parameters={"max_new_tokens": 2}))
        ended = any(one.row for one in self.begin(work.items))
        if not ended:
            self.step()

    def prepare(self, body: wire.WorkBody) -> Work:
        """Read a request's prompts and turn them into tokens."""
        options = read_options(body.parameters, self._model.generation_config)
        template = self._template if getattr(self._tokenizer, "chat_template", None) else None
        prompts = read_prompts(body.inputs, self._limits, template)
        if body.stream and not prompts.texts.single:
            raise InputError("a stream is of one prompt; send one at a time, or without stream")
        items = [
            self._item(text, prompts.texts.name(index), options, special=not prompts.is_chat)
            for index, text in enumerate(prompts.texts.texts)
        ]
        return Work(items=items, finish=lambda rows: prompts.texts.shape([[row] for row in rows]))

    def compute(self, items: Sequence[Item]) -> Sequence[Any]:
        """Write items from their beginning to their end, without anybody joining."""
        rows = {id(one.item): one.row for one in self.begin(items) if one.row is not None}
        while len(rows) < len(items):
            rows.update({id(one.item): one.row for one in self.step() if one.row is not None})
        return [rows[id(item)] for item in items]

    def room(self, item: Item) -> int:
        """Return the tokens of a prompt and of all that may be written to it."""
        return item.length + int(item.payload.new_tokens_max)

    def begin(self, items: Sequence[Item]) -> Sequence[Written]:
        """See `Writes.begin`."""
        import torch  # seconds

        from worker.engines.generation.running import Batch  # brings torch

        news = [self._new(item) for item in items]
        with device_errors(), torch.inference_mode():
            groups = [news] if self._can_join else [[live] for live in news]
            batches = [Batch.read(self._model, [live.row for live in group], self._device) for group in groups]
            if self._can_join and self._batches:
                self._batches[0].join(batches.pop())
        self._batches += batches
        self._live.update({id(live.item): live for live in news})
        return self._told(news)

    def step(self) -> Sequence[Written]:
        """See `Writes.step`."""
        import torch  # seconds

        with device_errors(), torch.inference_mode():
            for batch in self._batches:
                batch.step(self._model)
        return self._told(list(self._live.values()))

    def drop(self, items: Sequence[Item]) -> None:
        """See `Writes.drop`."""
        for item in items:
            self._live.pop(id(item), None)
        kept = [live.row for live in self._live.values()]
        for batch in self._batches:
            batch.keep(kept)
        self._batches = [batch for batch in self._batches if batch.rows]

    def _try_joining(self) -> bool:
        """Tell by one token whether the model keeps keys and values alone.

        Raises:
            ModelError: it keeps its state in a way that this worker does not know.
        """
        import torch  # seconds

        from worker.engines.generation.choosing import Chooser  # brings torch
        from worker.engines.generation.running import Batch, Row  # brings torch

        row = Row(ids=[0], chooser=Chooser(Sampling(), self._device))
        try:
            with device_errors(), torch.inference_mode():
                return Batch.read(self._model, [row], self._device).can_join
        except AttributeError as exc:
            raise ModelError(f"the model keeps its state in a way that this worker does not know: {exc}") from exc

    def _new(self, item: Item) -> _Live:
        from worker.engines.generation.choosing import Chooser  # brings torch
        from worker.engines.generation.running import Row  # brings torch

        prompt: _Prompt = item.payload
        row = Row(ids=list(prompt.ids), chooser=Chooser(prompt.options.sampling, self._device))
        return _Live(item=item, row=row, transcript=Transcript(self._decode, prompt.options.stops))

    def _told(self, lives: Sequence[_Live]) -> list[Written]:
        """Turn the newest token of each into text, and let those go that have come to their end."""
        written = [self._write(live) for live in lives]
        if ended := [one.item for one in written if one.row is not None]:
            self.drop(ended)
        return written

    def _write(self, live: _Live) -> Written:
        prompt: _Prompt = live.item.payload
        token = live.row.ids[-1]
        is_end = token in self._ends
        piece = "" if is_end else live.transcript.add(token)
        reason = ""
        if is_end:
            reason = "eos_token"
        elif live.transcript.stopped:
            reason = "stop_sequence"
        elif live.row.written >= prompt.new_tokens_max:
            reason = "length"
        if not reason:
            return Written(item=live.item, text=piece)
        piece += live.transcript.end()
        details = {
            "finish_reason": "stop_sequence" if live.transcript.stopped else reason,
            "generated_tokens": live.row.written,
            "prompt_tokens": live.row.prompt_tokens,
        }
        text = (prompt.text if prompt.options.full_text else "") + live.transcript.text
        row = {"generated_text": text, "details": details}
        return Written(item=live.item, text=piece, row=row, tokens=live.row.written)

    def _item(self, text: str, name: str, options: Options, *, special: bool) -> Item:
        with self._tokenizing:
            ids = self._tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        asked = options.new_tokens_max
        if asked is not None and asked >= self._context:
            raise InputError(
                f"parameter max_new_tokens is {asked}, and this model's context is {self._context} tokens"
            )
        room = self._context - (asked or 1)
        if len(ids) > room and not options.truncate:
            raise InputError(f"{name} has {len(ids)} tokens, and with max_new_tokens {asked or 1} may have {room}")
        ids = ids[-room:]
        if not ids:
            raise InputError(f"{name} has no tokens; there is nothing to continue")
        limit = asked or min(NEW_TOKENS_DEFAULT, self._context - len(ids))
        return Item(length=len(ids), payload=_Prompt(ids=ids, options=options, new_tokens_max=limit, text=text))

    def _template(self, messages: Sequence[Mapping[str, str]]) -> str:
        made: str = self._tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
        return made

    @property
    def _decode(self) -> Any:
        # Special tokens are no text, and spaces before punctuation are the model's own.
        return partial(self._tokenizer.decode, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _ends(config: Any, tokenizer: Any) -> frozenset[int]:
    said = config.eos_token_id
    ends = said if isinstance(said, list) else [said]
    return frozenset(int(end) for end in (*ends, tokenizer.eos_token_id) if end is not None)


def _context(config: Any, tokenizer: Any) -> int:
    said = (getattr(config, "max_position_embeddings", None), int(tokenizer.model_max_length))
    return min((tokens for tokens in said if tokens and 0 < tokens < _UNLIMITED), default=_CONTEXT_UNKNOWN)
