"""What the packed engines share: texts to tokens, one pass over a batch without padding, and rows of each text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from gate import wire
from worker.engine import Item, Work
from worker.engines.inputs import read_texts
from worker.engines.packed import read_shape
from worker.errors import InputError, ModelError
from worker.hardware.failures import device_errors
from worker.hardware.plan import make_plan, tell_chosen
from worker.log import EventLog
from worker.settings import Hardware, Limits

_Options = TypeVar("_Options")

_QUICK_BYTES_MAX = 4096
"""Of a request whose texts become tokens in half a millisecond at most."""


class PackedTextEngine(ABC, Generic[_Options]):
    """Runs one encoder of the BERT family on texts, without `transformers`.

    Items with different options go through the model together: options concern only what is made of its states.
    """

    def __init__(
        self, folder: Path, limits: Limits, hardware: Hardware | None = None, *, tokens_max: int | None = None
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._hardware = hardware or Hardware()
        self._tokens_max = tokens_max
        self._tokenizer: Any = None
        self._encoder: Any = None

    @abstractmethod
    def read_options(self, parameters: Mapping[str, Any]) -> tuple[_Options, bool]:
        """Read a job's parameters: the task's own options, and whether to cut texts that are too long."""

    @abstractmethod
    def load_head(self, device: str) -> None:
        """Read what the task needs beside the encoder."""

    @abstractmethod
    def rows(self, packed: Any, options: Sequence[_Options]) -> list[Any]:
        """Return one JSON-ready row for each text of a batch, from its hidden states and its own options."""

    @property
    def quick_bytes_max(self) -> int:
        """See `Quick`."""
        return _QUICK_BYTES_MAX

    def import_libraries(self) -> None:
        """Import torch and tokenizers: most of a start."""
        import tokenizers  # noqa: F401  # a tenth of a second
        import torch  # noqa: F401  # seconds

    def load(self) -> None:
        """Map the weights, choose the dtype that is fastest here, and hold it to float32's answers."""
        import torch  # seconds

        from worker.engines.packed.opening import open_encoder  # brings torch
        from worker.engines.packed.probe import choose_dtype  # brings torch
        from worker.engines.packed.tokenizer import PackedTokenizer  # brings tokenizers

        shape = read_shape(self._folder)
        plan = make_plan(
            self._folder,
            self._hardware,
            batch_tokens=self._limits.batch_tokens_max,
            faster_in_bfloat16=lambda _config, _stored: choose_dtype(shape, "cpu") is torch.bfloat16,
        )
        if plan.device.kind == "mps" or plan.place.device_map:
            raise ModelError("the packed encoder runs on one CUDA card or on the CPU")
        device = plan.device.name
        self._tokenizer = PackedTokenizer.load(self._folder, shape, tokens_max=self._tokens_max)
        self._encoder = open_encoder(self._folder, device=device, log=EventLog(), dtype=getattr(torch, plan.dtype))
        tell_chosen(plan, self._encoder.dtype, "packed", log=EventLog())
        self.load_head(device)

    def prepare(self, body: wire.WorkBody) -> Work:
        """Read a request's texts and turn them into tokens."""
        options, truncate = self.read_options(body.parameters)
        texts = read_texts(body.inputs, self._limits)
        encoded = self._tokenizer.encode(texts.texts, truncate=truncate)
        for index, tokens in enumerate(encoded):
            if len(tokens) > self._tokenizer.tokens_max:
                raise InputError(
                    f"{texts.name(index)} has over {self._tokenizer.tokens_max} tokens, and truncate is false"
                )
        items = [Item(length=len(tokens), payload=(options, tokens)) for tokens in encoded]
        return Work(items=items, finish=texts.shape)

    def compute(self, items: Sequence[Item]) -> Sequence[Any]:
        """Run all items in one pass."""
        tokens = [item.payload[1] for item in items]
        # A text has none where all are 0, and a pair beside it has them.
        typed = any(each.type_ids for each in tokens)
        types = [each.type_ids or [0] * len(each) for each in tokens] if typed else None
        with device_errors():
            packed = self._encoder.forward([each.ids for each in tokens], types)
            return self.rows(packed, [item.payload[0] for item in items])
