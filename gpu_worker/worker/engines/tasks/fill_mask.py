"""Fill-mask: the likeliest tokens in the place of a text's mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gate import wire
from worker.engine import Item, Work
from worker.engines.general.text import TextEngine, finite, to_items
from worker.engines.inputs import Parameters, Texts, read_list, read_texts
from worker.errors import InputError, ModelError

_TOP_K = 5
_PROPOSALS_MAX = 20_000
"""Of one job: each has the whole text in it."""
_LOGITS_MAX = 2**28
"""Of one pass: a number for each token and word of the vocabulary, 1 GiB in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a job wants to see of the vocabulary."""

    top_k: int
    targets: tuple[int, ...] | None
    """The only tokens to choose from; None for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One text, as tokens."""

    ids: Sequence[int]
    masks: tuple[int, ...]
    options: Options


class FillMaskEngine(TextEngine[Any]):
    """Takes a text with a mask or a list of such texts, and returns a list of `{score, token, token_str, sequence}`.

    A text with several masks gives such a list for each of them, filled as if the others stayed.

    Parameters: `top_k` (default 5), `targets` (a string or a list of strings, each one token of the vocabulary:
    scores are shown of those alone) and `truncate` (bool; default true).
    """

    auto_class = "AutoModelForMaskedLM"

    def load(self) -> None:
        """Read the model, and refuse one without a mask."""
        super().load()
        if self._tokenizer.mask_token_id is None:
            raise ModelError("the model's tokenizer has no mask, so there is nothing to fill")

    def warm_up(self) -> None:
        """Fill a mask."""
        inputs = f"to warm up {self._tokenizer.mask_token}"
        self.compute(self.prepare(wire.WorkBody(model="", inputs=inputs, parameters={})).items)

    def read_options(self, parameters: Mapping[str, Any]) -> tuple[Options, bool]:
        """Return which tokens to show, and whether to truncate."""
        read = Parameters(parameters, known=("top_k", "targets", "truncate"))
        targets = self._read_targets(parameters.get("targets"))
        choices = self._model.config.vocab_size if targets is None else len(targets)
        options = Options(top_k=min(read.count("top_k") or _TOP_K, choices), targets=targets)
        return options, read.flag("truncate", default=True)

    def prepare(self, body: wire.WorkBody) -> Work:
        """Read the texts, and find their masks."""
        options, truncate = self.read_options(body.parameters)
        texts = read_texts(body.inputs, self._limits)
        encoded = self._encode(texts, truncate=truncate)
        asked = [_Asked(ids=ids, masks=self._find_masks(ids), options=options) for ids in encoded["input_ids"]]
        self._check_masks(texts, asked)
        items = [
            Item(length=item.length, payload=(*item.payload, one))
            for item, one in zip(to_items(encoded, None), asked, strict=True)
        ]
        return Work(
            items=items,
            finish=lambda rows: texts.shape([self._fill(one, row) for one, row in zip(asked, rows, strict=True)]),
        )

    def rows(self, output: Any, mask: Any, options: Sequence[_Asked]) -> list[Any]:  # noqa: ARG002  # masks tell places
        """Return for each text and each of its masks the scores and the tokens, best first."""
        return [_best(logits, asked) for logits, asked in zip(output.logits, options, strict=True)]

    def _pass(self, items: Sequence[Item], options: Any) -> list[Any]:  # noqa: ARG002  # each item has its own
        return super()._pass(items, [item.payload[2] for item in items])

    def _pass_tokens_max(self) -> int:
        fitting = _LOGITS_MAX // int(self._model.config.vocab_size)
        return max(1, min(super()._pass_tokens_max(), fitting))

    def _read_targets(self, value: Any) -> tuple[int, ...] | None:
        if value is None:
            return None
        targets = read_list([value] if isinstance(value, str) else value, "targets", self._limits)
        return tuple(dict.fromkeys(self._token(target, f"targets[{index}]") for index, target in enumerate(targets)))

    def _token(self, target: str, name: str) -> int:
        """Return the token of a word. Where that takes several, transformers' pipeline has the first; it misleads."""
        unknown = (None, self._tokenizer.unk_token_id)
        tokens = [self._tokenizer.convert_tokens_to_ids(target)]
        if tokens[0] in unknown:
            tokens = self._tokenize([target], add_special_tokens=False)["input_ids"][0]
        if len(tokens) != 1 or tokens[0] in unknown or tokens[0] >= self._model.config.vocab_size:
            raise InputError(f"{name} is not one token of this model's vocabulary")
        return int(tokens[0])

    def _check_masks(self, texts: Texts, asked: Sequence[_Asked]) -> None:
        for index, one in enumerate(asked):
            if not one.masks:
                mask = self._tokenizer.mask_token
                raise InputError(f"{texts.name(index)} has no {mask} in its first {self._tokens_max} tokens")
        proposals = sum(len(one.masks) * one.options.top_k for one in asked)
        if proposals > _PROPOSALS_MAX:
            raise InputError(f"inputs and top_k ask for {proposals} proposals, and may for {_PROPOSALS_MAX}")

    def _find_masks(self, ids: Sequence[int]) -> tuple[int, ...]:
        return tuple(place for place, token in enumerate(ids) if token == self._tokenizer.mask_token_id)

    def _fill(self, asked: _Asked, row: Any) -> Any:
        """Return the proposals for one mask, or a list of those for several."""
        filled = [
            [self._proposal(asked, place, score, token) for score, token in best]
            for place, best in zip(asked.masks, row, strict=True)
        ]
        return filled[0] if len(filled) == 1 else filled

    def _proposal(self, asked: _Asked, place: int, score: float, token: int) -> dict[str, Any]:
        ids = [*asked.ids[:place], token, *asked.ids[place + 1 :]]
        # With several masks the others are to be seen, and they are special tokens.
        sequence = self._tokenizer.decode(ids, skip_special_tokens=len(asked.masks) == 1)
        return {"score": score, "token": token, "token_str": self._tokenizer.decode([token]), "sequence": sequence}


def _best(logits: Any, asked: _Asked) -> list[list[tuple[float, int]]]:
    """Return for each mask of a text its likeliest tokens. Scores are shares of the whole vocabulary."""
    scores = finite(logits[list(asked.masks)].float()).softmax(dim=-1)
    targets = asked.options.targets
    if targets is not None:
        scores = scores[:, list(targets)]
    values, places = scores.topk(asked.options.top_k)
    return [
        [(value, targets[place] if targets is not None else place) for value, place in zip(*pair, strict=True)]
        for pair in zip(values.tolist(), places.tolist(), strict=True)
    ]
