"""Token classification: the names, places and other things that are in a text, with where they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gate import wire
from worker.engine import Work
from worker.engines.general.text import TextEngine, finite, to_items
from worker.engines.inputs import Parameters, read_texts
from worker.engines.tasks.entities import STRATEGIES, Entities, Token
from worker.errors import ModelError


class TokenClassificationEngine(TextEngine[str]):
    """Takes a text or a list of texts, and returns a list of entities for each.

    An entity is `{entity_group, score, word, start, end}`, or with `aggregation_strategy` none, for each token alone,
    `{entity, score, index, word, start, end}`. What is labelled O is left out.

    Parameters: `aggregation_strategy` (none, simple, first, average or max; default simple) and `truncate` (bool;
    default true).
    """

    auto_class = "AutoModelForTokenClassification"

    def load(self) -> None:
        """Read the model, and refuse one whose tokenizer cannot say where a token stands."""
        super().load()
        if not self._tokenizer.is_fast:
            raise ModelError("the model's tokenizer does not tell where its tokens stand in the text")

    def read_options(self, parameters: Mapping[str, Any]) -> tuple[str, bool]:
        """Return how tokens are put together, and whether to truncate."""
        read = Parameters(parameters, known=("aggregation_strategy", "truncate"))
        strategy = read.choice("aggregation_strategy", STRATEGIES, default="simple")
        return strategy, read.flag("truncate", default=True)

    def prepare(self, body: wire.WorkBody) -> Work:
        """Read the texts. How tokens are put together makes no difference to the model."""
        strategy, truncate = self.read_options(body.parameters)
        texts = read_texts(body.inputs, self._limits)
        told = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
        encoded = self._encode(texts, truncate=truncate, **told)
        offsets, special = encoded.pop("offset_mapping"), encoded.pop("special_tokens_mask")
        read = [self._read(*row) for row in zip(texts.texts, encoded["input_ids"], offsets, special, strict=True)]
        entities = Entities(
            labels=self._model.config.id2label, strategy=strategy, join=self._tokenizer.convert_tokens_to_string
        )
        return Work(
            items=to_items(encoded, None),
            finish=lambda rows: texts.shape([entities.find(*pair) for pair in zip(read, rows, strict=True)]),
        )

    def rows(self, output: Any, mask: Any, options: object) -> list[Any]:  # noqa: ARG002  # a table needs no options
        """Return a table of scores, tokens by labels, for each text."""
        scores = finite(output.logits.float().softmax(dim=-1)).cpu().numpy()
        lengths = mask.sum(dim=1).tolist()
        # A copy, so that a short text's table does not keep its whole batch in memory.
        return [table[:length].copy() for table, length in zip(scores, lengths, strict=True)]

    def _read(
        self, text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]], special: Sequence[int]
    ) -> list[Token]:
        """Return a text's tokens, without those that are not of the text."""
        names = self._tokenizer.convert_ids_to_tokens(ids)
        return [
            self._token(
                text, index, names[index], *offsets[index], unknown=ids[index] == self._tokenizer.unk_token_id
            )
            for index in range(len(ids))
            if not special[index]
        ]

    def _token(self, text: str, index: int, name: str, start: int, end: int, *, unknown: bool) -> Token:
        """Return one token. Whether it goes on with a word is told as transformers' own pipeline tells it."""
        if unknown:
            continues, name = False, text[start:end]
        elif getattr(self._tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None):
            continues = len(name) != end - start
        else:
            continues = start > 0 and " " not in text[start - 1 : start + 1]
        return Token(index=index, name=name, start=start, end=end, continues=continues)
