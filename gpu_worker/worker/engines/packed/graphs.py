"""CUDA graphs of an encoder: to launch a small batch kernel by kernel takes longer than to compute it.

A graph is of one size. What a batch has less of than that is filled up with rows and sequences that nobody reads. The
first batch of a size records its graph; each after it is replayed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from worker.engines.packed.attention import Attend
from worker.engines.packed.embeddings import Numbers
from worker.engines.packed.layout import Layout
from worker.engines.packed.size import Size
from worker.log import EventLog

Run = Callable[[Numbers, Attend], Tensor]
"""Makes hidden states, (rows, width), of numbers on the device."""


class Replayable(Protocol):
    """A way of attending by the same kernels for every layout of a size: they read numbers that differ."""

    lengths: Sequence[int]
    """Those that the longest sequence is rounded up to."""

    def fits(self, size: Size) -> bool:
        """Tell whether a size is worth it."""
        ...

    def count(self, size: Size) -> int:
        """Return how many numbers are read."""
        ...

    def fill(self, numbers: Tensor, layout: Layout, size: Size) -> None:
        """Write a layout's numbers over zeros, (count), int32, on the CPU."""
        ...

    def over(self, numbers: Tensor, size: Size, dtype: torch.dtype) -> Attend:
        """Return what attends within the sequences that numbers on the card tell of, whenever they are read.

        Called once before the kernels are recorded, and once while they are.
        """
        ...


class Graphs:
    """The graphs of one encoder, recorded as batches come. One batch at a time goes through them.

    Args:
        run: makes hidden states, by the same kernels whatever the numbers are.
        attention: its way of attending.
        dtype: that it computes in.
        device: a CUDA card.
        typed: whether tokens have types.
    """

    def __init__(
        self, run: Run, attention: Replayable, *, dtype: torch.dtype, device: torch.device, typed: bool
    ) -> None:
        self._run, self._attention = run, attention
        self._dtype, self._device, self._typed = dtype, device, typed
        self._graphs: dict[Size, _Graph] = {}
        self._pool = torch.cuda.graph_pool_handle()
        # One for all: what one graph no longer needs is free for the next only on the same stream.
        self._aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own gap
        self._turn = threading.Lock()
        self.are_used = True
        """Until one could not be recorded, or gave something else than its kernels did."""

    def run(self, layout: Layout, numbers: Numbers) -> Tensor | None:
        """Return the hidden states of a layout's tokens, (tokens, width), or None if no graph is to make them.

        Args:
            layout: without idle rows.
            numbers: of its rows, on the CPU.
        """
        size = Size.of(layout, self._attention.lengths)
        if size is None or not self.are_used or not self._attention.fits(size):
            return None
        with self._turn:
            given = self._filled(size, layout, numbers)
            graph = self._graphs.get(size) or self._recorded(size, given, layout.tokens)
            # A copy, for the next batch of this size is written to the same place.
            return None if graph is None else graph.replay(given)[: layout.tokens].clone()

    def _recorded(self, size: Size, given: Tensor, tokens: int) -> _Graph | None:
        place = self._place(size, given)
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

    def _filled(self, size: Size, layout: Layout, numbers: Numbers) -> Tensor:
        """Return all that a graph reads, one after the other, so that it goes to the card in one piece."""
        given = torch.zeros(sum(self._counts(size)), dtype=torch.int32)
        *rows, others = torch.split(given, self._counts(size))
        for place, told in zip(rows, (numbers.ids, numbers.positions, numbers.types), strict=False):
            if told is not None:
                place[: layout.rows] = told
        self._attention.fill(others, layout, size)
        return given

    def _place(self, size: Size, given: Tensor) -> _Place:
        """Make the place on the card that a graph reads from, and put there what is given."""
        there = given.to(self._device)
        ids, positions, *types, others = torch.split(there, self._counts(size))
        numbers = Numbers(ids=ids, positions=positions, types=types[0] if self._typed else None)
        return _Place(all=there, numbers=numbers, others=others, size=size)

    def _counts(self, size: Size) -> list[int]:
        return [*[size.rows] * (3 if self._typed else 2), self._attention.count(size)]

    def _placed(self, place: _Place) -> Tensor:
        return self._run(place.numbers, self._attention.over(place.others, place.size, self._dtype))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What a graph reads, on the card."""

    all: Tensor
    numbers: Numbers
    others: Tensor
    """Those of the attention."""
    size: Size


class _Graph:
    """One recorded graph, and the places that it reads from and writes to."""

    def __init__(self, place: _Place, run: Callable[[_Place], Tensor], aside: torch.cuda.Stream, pool: Any) -> None:
        self._place, self._run = place, run
        usual = torch.cuda.current_stream(place.all.device)
        aside.wait_stream(usual)
        with torch.cuda.stream(aside):
            run(place)  # What libraries do the first time cannot be recorded.
        usual.wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, stream=aside, capture_error_mode="thread_local"):
            self._hidden = run(place)

    def replay(self, given: Tensor) -> Tensor:
        """Return the hidden states of all rows, in a place that the next replay writes to again."""
        self._place.all.copy_(given)
        self._graph.replay()
        return self._hidden

    def check(self, given: Tensor, tokens: int) -> None:
        """Hold a replay to what the same kernels give when they are launched.

        Raises:
            RuntimeError: it gives something else.
        """
        expected, made = self._run(self._place)[:tokens], self.replay(given)[:tokens]
        if not torch.allclose(made, expected, rtol=0.05, atol=0.02):
            raise RuntimeError("a graph gave something else than its kernels do")
