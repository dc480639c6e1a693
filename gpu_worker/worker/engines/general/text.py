"""What the engines over `transformers` share: from a job's texts, by tokens and batches, to one row for each text."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from gate import wire
from worker.engine import Item, Work
from worker.engines.general import batches
from worker.engines.general.loading import lacking, load_model, load_tokenizer
from worker.engines.inputs import Texts, read_texts
from worker.errors import InputError, ModelError
from worker.hardware.failures import device_errors
from worker.log import EventLog
from worker.settings import Hardware, Limits

_Options = TypeVar("_Options")
_Encoded = Mapping[str, Sequence[Sequence[int]]]

_TOKENS_MAX_UNKNOWN = 512
_SHIFTED_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl")
"""Models that number positions from behind the padding token, and so have fewer of them than their table is long."""


class TextEngine(ABC, Generic[_Options]):
    """Runs one model of `transformers` on texts. A task says what it makes of the model's output."""

    auto_class: ClassVar[str]
    unused_weights: ClassVar[tuple[str, ...]] = ()
    """Beginnings of weights' names that may be missing, since the task never uses them."""
    sample_inputs: ClassVar[Any] = ["warm up", "a second text, so that padding is tried too"]
    sample_parameters: ClassVar[Mapping[str, Any]] = {}
    """A job of this task, to try the model with."""

    def __init__(
        self, folder: Path, limits: Limits, hardware: Hardware | None = None, *, tokens_max: int | None = None
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._hardware = hardware or Hardware()
        self._tokens_max = tokens_max or 0
        self._tokenizer: Any = None
        self._tokenizing = threading.Lock()
        self._model: Any = None
        self._device = ""

    @abstractmethod
    def read_options(self, parameters: Mapping[str, Any]) -> tuple[_Options, bool]:
        """Read a job's parameters: the task's own options, and whether to cut texts that are too long."""

    @abstractmethod
    def rows(self, output: Any, mask: Any, options: _Options) -> list[Any]:
        """Return one JSON-ready row for each text of a batch.

        Args:
            output: what the model returned for the batch.
            mask: 1 for each token, 0 for padding, which is on the right.
            options: of the job.
        """

    def import_libraries(self) -> None:
        """Import torch and transformers; it takes seconds, and is most of a start."""
        import torch  # noqa: F401  # seconds
        import transformers  # seconds

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        # Names are resolved on first use, and that is where the time goes.
        _ = (transformers.AutoTokenizer, getattr(transformers, self.auto_class))

    def load(self) -> None:
        """Read tokenizer and weights onto the device that is chosen for them. Asks the network for nothing."""
        self._tokenizer = load_tokenizer(self._folder)
        loaded = load_model(
            self.auto_class,
            self._folder,
            self._hardware,
            log=EventLog(),
            batch_tokens=self._limits.batch_tokens_max,
        )
        self._model, self._device = loaded.model, loaded.device
        self._check(loaded.missing_weights)
        self._tokenizer.padding_side = "right"
        self._tokens_max = self._longest()

    def warm_up(self) -> None:
        """Run the sample, so that every library has done its first-time work before somebody waits for it."""
        sample = wire.WorkBody(model="", inputs=self.sample_inputs, parameters=self.sample_parameters)
        self.compute(self.prepare(sample).items)

    def prepare(self, body: wire.WorkBody) -> Work:
        """Read a request's texts and turn them into tokens."""
        options, truncate = self.read_options(body.parameters)
        texts = read_texts(body.inputs, self._limits)
        return Work(items=to_items(self._encode(texts, truncate=truncate), options), finish=texts.shape)

    def compute(self, items: Sequence[Item]) -> Sequence[Any]:
        """Run items in passes of like length, and put the rows back into their order."""
        rows: list[Any] = [None] * len(items)
        for options, places in _by_options(items).items():
            lengths = [items[place].length for place in places]
            for chosen in batches.plan(lengths, tokens_max=self._pass_tokens_max()):
                picked = [places[index] for index in chosen]
                for place, row in zip(picked, self._pass([items[place] for place in picked], options), strict=True):
                    rows[place] = row
        return rows

    def _encode(self, texts: Texts, *, truncate: bool, **told: bool) -> dict[str, Any]:
        """Return the texts' tokens, and what else the tokenizer is asked to tell of them."""
        # One token more than fits shows which texts are too long, without reading on.
        tokens_max = self._tokens_max + (not truncate)
        encoded: dict[str, Any] = self._tokenize(
            list(texts.texts), truncation=True, max_length=tokens_max, **told
        ).data
        for index, tokens in enumerate(encoded["input_ids"]):
            if len(tokens) > self._tokens_max:
                raise InputError(f"{texts.name(index)} has over {self._tokens_max} tokens, and truncate is false")
        return encoded

    def _tokenize(self, *texts: list[str], **options: Any) -> Any:
        """Call the tokenizer. It keeps how to truncate as a state of its own, so one thread at a time may."""
        with self._tokenizing:
            return self._tokenizer(*texts, padding=False, verbose=False, **options)

    def _pass_tokens_max(self) -> int:
        """Return how many tokens one pass may have; a task whose output is large takes fewer."""
        return self._limits.batch_tokens_max

    def _pass(self, items: Sequence[Item], options: _Options) -> list[Any]:
        """Run items through the model at once, padded to the longest of them."""
        import torch  # seconds

        picked = {name: [item.payload[1][name] for item in items] for name in items[0].payload[1]}
        inputs = self._tokenizer.pad(picked, padding=True, return_tensors="pt").to(self._device)
        with device_errors(), torch.inference_mode():
            return self.rows(self._model(**inputs), inputs["attention_mask"], options)

    def _check(self, missing_weights: Sequence[str]) -> None:
        """Refuse what would run and answer wrongly: weights that are not in the file are random numbers."""
        missing = sorted(name for name in missing_weights if not name.startswith(self.unused_weights))
        if missing:
            raise lacking(missing)
        if self._tokenizer.pad_token is None:
            raise ModelError("the model's tokenizer has no padding token, so its texts cannot be batched")

    def _longest(self) -> int:
        """Return the most tokens a text may have: the least of what folder, tokenizer and position table say."""
        config = self._model.config
        positions = getattr(config, "max_position_embeddings", 0) or 0
        if config.model_type in _SHIFTED_POSITIONS:
            positions -= config.pad_token_id + 1
        said = (self._tokens_max, int(self._tokenizer.model_max_length), positions)
        return min((tokens for tokens in said if tokens > 0), default=_TOKENS_MAX_UNKNOWN)


def to_items(encoded: _Encoded, options: Any) -> list[Item]:
    """Return one item for each row of tokens, to be computed with these options.

    Raises:
        InputError: one has none, as an empty text has with a tokenizer that puts nothing around it.
    """
    rows = [{name: values[index] for name, values in encoded.items()} for index in range(len(encoded["input_ids"]))]
    for index, row in enumerate(rows):
        if not len(row["input_ids"]):
            raise InputError(f"text {index + 1} of the job is empty; there is nothing to read")
    return [Item(length=len(row["input_ids"]), payload=(options, row)) for row in rows]


def _by_options(items: Sequence[Item]) -> dict[Any, list[int]]:
    """Return the items' places by the options that they are to be computed with."""
    places: dict[Any, list[int]] = {}
    for place, item in enumerate(items):
        places.setdefault(item.payload[0], []).append(place)
    return places


def finite(tensor: Any) -> Any:
    """Return numbers that JSON can carry.

    Raises:
        ArithmeticError: the model made others; an answer with them would never arrive.
    """
    import torch  # seconds

    if not bool(torch.isfinite(tensor).all()):
        raise ArithmeticError("the model's output is not finite")
    return tensor
