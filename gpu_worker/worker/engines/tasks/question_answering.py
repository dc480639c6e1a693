"""Question answering: the part of a context that answers a question, found in windows where the context is long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gate import wire
from worker.engine import Item, Work
from worker.engines.general.text import TextEngine, finite, to_items
from worker.engines.inputs import Parameters, kind, read_object, read_text
from worker.engines.tasks.answers import Answers, Window
from worker.errors import InputError, ModelError

_WINDOW_TOKENS_MAX = 384
_STRIDE_TOKENS = 128
_ANSWER_TOKENS_MAX = 15
_TOP_K_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which answers a job wants to see, and how much two windows share."""

    answers: Answers
    stride_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    name: str
    """What the sender calls it, for messages."""
    question: str
    context: str


class QuestionAnsweringEngine(TextEngine[Options]):
    """Takes `{question, context}` or a list of those, and returns `{score, start, end, answer}` for each.

    A context that is too long is read in windows that overlap. The same answer found in several places is told once,
    with its scores added up.

    Parameters: `top_k` (1 to 100; default 1; more than 1 gives a list of answers), `max_answer_len` (in tokens;
    default 15), `handle_impossible_answer` (bool; default false; true lets an empty answer win) and `doc_stride` (how
    many tokens two windows share; default 128, or half a window where that is less).
    """

    auto_class = "AutoModelForQuestionAnswering"
    sample_inputs = {"question": "What is it?", "context": "A text to warm up."}  # noqa: RUF012  # never written

    def load(self) -> None:
        """Read the model, and refuse one whose tokenizer cannot say where a token stands."""
        super().load()
        if not self._tokenizer.is_fast:
            raise ModelError("the model's tokenizer does not tell where its tokens stand in the text")
        self._tokens_max = min(self._tokens_max, _WINDOW_TOKENS_MAX)

    def read_options(self, parameters: Mapping[str, Any]) -> tuple[Options, bool]:
        """Return which answers to show. Nothing is ever cut off."""
        read = Parameters(parameters, known=("top_k", "max_answer_len", "handle_impossible_answer", "doc_stride"))
        top_k = read.count("top_k") or 1
        if top_k > _TOP_K_MAX:
            raise InputError(f"parameter top_k must be from 1 to {_TOP_K_MAX}")
        answers = Answers(
            top_k=top_k,
            tokens_max=min(read.count("max_answer_len") or _ANSWER_TOKENS_MAX, self._tokens_max),
            may_be_none=read.flag("handle_impossible_answer", default=False),
        )
        stride_tokens = read.count("doc_stride") or min(self._tokens_max // 2, _STRIDE_TOKENS)
        return Options(answers=answers, stride_tokens=stride_tokens), False

    def prepare(self, body: wire.WorkBody) -> Work:
        """Divide each context into windows; each is an item of its own."""
        options, _ = self.read_options(body.parameters)
        questions = self._read(body.inputs)
        self._check_windows(questions, options.stride_tokens)
        items, windows = self._divide(questions, options.stride_tokens)

        def finish(rows: Sequence[Any]) -> Any:
            left = iter(rows)
            found = [
                options.answers.choose(question.context, [(window, next(left)) for window in own])
                for question, own in zip(questions, windows, strict=True)
            ]
            return found if isinstance(body.inputs, list) else found[0]

        return Work(items=items, finish=finish)

    def rows(self, output: Any, mask: Any, options: object) -> list[Any]:  # noqa: ARG002  # logits need no options
        """Return two arrays for each window: how likely each token begins an answer, and ends it, as logits."""
        import torch  # seconds

        logits = finite(torch.stack((output.start_logits, output.end_logits), dim=1).float()).cpu().numpy()
        return [both[:, :length].copy() for both, length in zip(logits, mask.sum(dim=1).tolist(), strict=True)]

    def _divide(
        self, questions: Sequence[_Question], stride_tokens: int
    ) -> tuple[list[Item], Sequence[Sequence[Window]]]:
        """Return an item for each window, and the windows of each question, in the items' order."""
        encoded = self._tokenize(
            [question.question for question in questions],
            [question.context for question in questions],
            truncation="only_second",
            max_length=self._tokens_max,
            stride=stride_tokens,
            return_overflowing_tokens=True,
        )
        windows: list[list[Window]] = [[] for _ in questions]
        for encoding, owner in zip(encoded.encodings, encoded.pop("overflow_to_sample_mapping"), strict=True):
            windows[owner].append(Window.of(encoding, cls_id=self._tokenizer.cls_token_id))
        return to_items(encoded.data, None), windows

    def _read(self, inputs: Any) -> list[_Question]:
        if isinstance(inputs, dict):
            return [self._read_one(inputs, "inputs")]
        if not isinstance(inputs, list):
            raise InputError(f"inputs must be an object with question and context or a list, not {kind(inputs)}")
        if not 0 < len(inputs) <= self._limits.items_max:
            raise InputError(f"inputs has {len(inputs)} questions, and must have from 1 to {self._limits.items_max}")
        return [self._read_one(one, f"inputs[{index}]") for index, one in enumerate(inputs)]

    def _read_one(self, value: Any, name: str) -> _Question:
        fields = read_object(value, name, ("question", "context"))
        texts = {field: read_text(fields[field], f"{name}.{field}", self._limits) for field in fields}
        empty = [field for field, text in texts.items() if not text.strip()]
        if empty:
            raise InputError(f"{name}.{empty[0]} is empty")
        return _Question(name=name, **texts)

    def _check_windows(self, questions: Sequence[_Question], stride_tokens: int) -> None:
        """Refuse a question that leaves no room to move a window on, and what would take too many windows."""
        asked = self._count([question.question for question in questions], tokens_max=self._tokens_max)
        given = self._count([question.context for question in questions], tokens_max=None)
        special = self._tokenizer.num_special_tokens_to_add(pair=True)
        windows = 0
        for question, asked_tokens, given_tokens in zip(questions, asked, given, strict=True):
            room = self._tokens_max - special - asked_tokens
            if room <= stride_tokens:
                raise InputError(
                    f"{question.name}.question has too many tokens: with doc_stride {stride_tokens}, "
                    f"windows of {self._tokens_max} have no room left for the context"
                )
            windows += 1 + max(0, given_tokens - room) // (room - stride_tokens)
        if windows > self._limits.items_max:
            raise InputError(f"inputs takes about {windows} windows, and may take {self._limits.items_max}")

    def _count(self, texts: list[str], *, tokens_max: int | None) -> list[int]:
        encoded = self._tokenize(
            texts, add_special_tokens=False, truncation=tokens_max is not None, max_length=tokens_max
        )
        return [len(tokens) for tokens in encoded["input_ids"]]
