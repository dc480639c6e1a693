"""CUDA graphs of an encoder: to launch a small batch kernel by kernel takes longer than to compute it.

A graph is of one size: rows, sequences, and the longest of these. What is less than that is filled up with rows that
nobody reads and with sequences of no rows. The first batch of a size records its graph; each after it is replayed.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worker.engines.packed.attention import Attend
from worker.engines.packed.embeddings import Numbers
from worker.engines.packed.layout import Layout
from worker.log import EventLog

Run = Callable[[Numbers, Attend], Tensor]
"""Makes hidden states, (rows, width), of numbers on the device."""
AttendOver = Callable[[Tensor, int], Attend]
"""See `VarlenAttention.over`."""

_ROWS = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
"""Above, a card is busy for longer than its launches take."""
_SEQUENCES = (1, 8, 64, 512)
_LONGEST = (128, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a graph was recorded for, and what fits into it."""

    rows: int
    sequences: int
    longest: int

    @classmethod
    def of(cls, layout: Layout) -> Size | None:
        """Return the least size that a layout fits into, or None if there is none."""
        rows, sequences = _least(_ROWS, layout.rows), _least(_SEQUENCES, len(layout.lengths))
        longest = _least(_LONGEST, layout.lengths[0])
        if rows is None or sequences is None or longest is None:
            return None
        return cls(rows=rows, sequences=sequences, longest=longest)


def _least(sizes: tuple[int, ...], wanted: int) -> int | None:
    at = bisect_left(sizes, wanted)
    return sizes[at] if at < len(sizes) else None


class Graphs:
    """The graphs of one encoder, recorded as batches come. One batch at a time goes through them.

    Args:
        run: makes hidden states, by the same kernels whatever the numbers are.
        attend_over: makes the attention.
        device: a CUDA card.
        typed: whether tokens have types.
    """

    def __init__(self, run: Run, attend_over: AttendOver, *, device: torch.device, typed: bool) -> None:
        self._run, self._attend_over = run, attend_over
        self._device, self._typed = device, typed
        self._graphs: dict[Size, _Graph] = {}
        self._pool = torch.cuda.graph_pool_handle()
        # One for all: what one graph no longer needs is free for the next only on the same stream.
        self._aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own gap
        self._turn = threading.Lock()
        self.are_used = True
        """Until one could not be recorded, or gave something else than its kernels did."""

    def run(self, layout: Layout, numbers: Numbers) -> Tensor | None:
        """Return the hidden states of a layout's tokens, (tokens, width), or None if no graph can make them.

        Args:
            layout: without idle rows.
            numbers: of its rows, on the CPU.
        """
        size = Size.of(layout)
        if size is None or not self.are_used:
            return None
        with self._turn:
            given = _filled(size, layout, numbers, typed=self._typed)
            graph = self._graphs.get(size) or self._recorded(size, given, layout.tokens)
            # A copy, for the next batch of this size is written to the same place.
            return None if graph is None else graph.replay(given)[: layout.tokens].clone()

    def _recorded(self, size: Size, given: Tensor, tokens: int) -> _Graph | None:
        place = _Given.on(self._device, size, given, typed=self._typed)
        try:
            graph = _Graph(place, self._placed, self._aside, self._pool)
            graph.check(given, tokens)
        except RuntimeError as exc:
            # A full card, for one. Kernel by kernel it may still do, and if not, that is told better there.
            self.are_used = False
            self._graphs.clear()
            EventLog().warning("encoder.graphs_refused", reason=str(exc)[:300])
            return None
        self._graphs[size] = graph
        return graph

    def _placed(self, given: _Given) -> Tensor:
        return self._run(given.numbers, self._attend_over(given.starts, given.longest))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """The place on the card that a graph reads from."""

    all: Tensor
    numbers: Numbers
    starts: Tensor
    longest: int

    @classmethod
    def on(cls, device: torch.device, size: Size, given: Tensor, *, typed: bool) -> _Given:
        """Make one, and put there what is given."""
        there = given.to(device)
        ids, positions, *types, starts = torch.split(there, _counts(size, typed=typed))
        numbers = Numbers(ids=ids, positions=positions, types=types[0] if typed else None)
        return cls(all=there, numbers=numbers, starts=starts, longest=size.longest)


class _Graph:
    """One recorded graph, and the places that it reads from and writes to."""

    def __init__(self, given: _Given, run: Callable[[_Given], Tensor], aside: torch.cuda.Stream, pool: Any) -> None:
        self._given, self._run = given, run
        usual = torch.cuda.current_stream(given.all.device)
        aside.wait_stream(usual)
        with torch.cuda.stream(aside):
            run(given)  # What libraries do the first time cannot be recorded.
        usual.wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, stream=aside, capture_error_mode="thread_local"):
            self._hidden = run(given)

    def replay(self, given: Tensor) -> Tensor:
        """Return the hidden states of all rows, in a place that the next replay writes to again."""
        self._given.all.copy_(given)
        self._graph.replay()
        return self._hidden

    def check(self, given: Tensor, tokens: int) -> None:
        """Hold a replay to what the same kernels give when they are launched.

        Raises:
            RuntimeError: it gives something else.
        """
        expected, made = self._run(self._given)[:tokens], self.replay(given)[:tokens]
        if not torch.allclose(made, expected, rtol=0.05, atol=0.02):
            raise RuntimeError("a graph gave something else than its kernels do")


def _counts(size: Size, *, typed: bool) -> list[int]:
    return [*[size.rows] * (3 if typed else 2), size.sequences + 1]


def _filled(size: Size, layout: Layout, numbers: Numbers, *, typed: bool) -> Tensor:
    """Return all that a graph reads, one after the other, so that it goes to the card in one piece."""
    given = torch.zeros(sum(_counts(size, typed=typed)), dtype=torch.int32)
    *rows, starts = torch.split(given, _counts(size, typed=typed))
    for place, told in zip(rows, (numbers.ids, numbers.positions, numbers.types), strict=False):
        if told is not None:
            place[: layout.rows] = told
    begun = len(layout.starts)
    starts[:begun] = torch.tensor(layout.starts)
    starts[begun:] = layout.tokens
    return given
