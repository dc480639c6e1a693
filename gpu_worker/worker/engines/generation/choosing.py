"""The next token of each row, as each row's request wants it chosen, whoever else is in the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worker.engines.generation.options import Sampling


class Chooser:
    """Chooses the tokens of one sequence. Its random numbers are its own."""

    def __init__(self, sampling: Sampling, device: str) -> None:
        from transformers.generation import logits_process  # it is imported by then

        self.sampling = sampling
        self._generator = torch.Generator(device=device).manual_seed(sampling.seed)
        self._processors: list[Any] = []
        if sampling.repetition_penalty != 1.0:
            self._processors.append(logits_process.RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
        if sampling.do_sample:
            # In the order of the library.
            if sampling.temperature != 1.0:
                self._processors.append(logits_process.TemperatureLogitsWarper(sampling.temperature))
            if sampling.top_k:
                self._processors.append(logits_process.TopKLogitsWarper(sampling.top_k))
            if sampling.top_p < 1.0:
                self._processors.append(logits_process.TopPLogitsWarper(sampling.top_p))

    def choose(self, ids: Sequence[int], scores: Tensor) -> Tensor:
        """Return the next token, (1).

        Args:
            ids: all tokens so far, the prompt's too.
            scores: the model's, (vocabulary).
        """
        row = scores.unsqueeze(0)
        known = torch.tensor([ids], device=scores.device)
        for process in self._processors:
            row = process(known, row)
        if not self.sampling.do_sample:
            return row.argmax(dim=-1)
        return torch.multinomial(row.softmax(dim=-1), 1, generator=self._generator)[0]


def choose_all(choosers: Sequence[Chooser], ids: Sequence[Sequence[int]], logits: Tensor) -> list[int]:
    """Return the next token of each row of the model's output, (rows, vocabulary)."""
    scores = logits.float()
    chosen = scores.argmax(dim=-1)
    for row, chooser in enumerate(choosers):
        if not chooser.sampling.is_greedy:
            chosen[row] = chooser.choose(ids[row], scores[row])[0]
    tokens: list[int] = chosen.tolist()
    return tokens
