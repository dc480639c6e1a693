"""The packed encoder: the hidden states of sequences of any lengths, without a row of padding in any linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from worker.engines.packed import names
from worker.engines.packed.attention import Attend
from worker.engines.packed.embeddings import Embeddings, Numbers, TypeIds, load_embeddings
from worker.engines.packed.graphs import Graphs
from worker.engines.packed.layer import Layer, Place, load_layer
from worker.engines.packed.layout import Layout, lay_out
from worker.engines.packed.linear import MakeLinear, PlainLinear, can_prepack, make_linear
from worker.engines.packed.shapes import Shape, read_shape
from worker.engines.packed.ways import Ways, Where, plain_way_to_attend, ways_to_attend
from worker.engines.packed.weights import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The hidden states of a batch, sequence after sequence."""

    hidden: Tensor
    """(tokens, width), in the encoder's dtype and on its device; the longest sequence is first."""
    offsets: Tensor
    """(sequences + 1): where each begins and the last ends, in the order of `hidden`."""
    places: Tensor
    """(sequences): for each sequence as it was given, which of `hidden` it is."""

    @property
    def starts(self) -> Tensor:
        """Return the row of each sequence's first token, in the order in which they were given."""
        return self.offsets[self.places]

    @property
    def ends(self) -> Tensor:
        """Return the row behind each sequence's last token, in the order in which they were given."""
        return self.offsets[self.places + 1]

    def split(self, rows: Tensor | None = None) -> list[Tensor]:
        """Return the hidden states, or other rows made of them, by sequence in the order in which they were given."""
        parts = torch.split(self.hidden if rows is None else rows, self.offsets.diff().tolist())
        return [parts[place] for place in self.places.tolist()]


class PackedEncoder:
    """One encoder on one device. Several threads may use it: after loading it changes no more, but for its graphs."""

    def __init__(
        self, shape: Shape, embeddings: Embeddings, layers: Sequence[Layer], ways: Ways, dtype: torch.dtype
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.device = embeddings.words.device
        self._embeddings, self._layers, self._attention = embeddings, layers, ways.attention
        # Only oneDNN makes a kernel for each number of rows.
        self._rounded = self.device.type == "cpu" and can_prepack(dtype)
        self._graphs = None
        if ways.replayed is not None:
            typed = embeddings.types is not None
            self._graphs = Graphs(self._run, ways.replayed, dtype=dtype, device=self.device, typed=typed)

    @classmethod
    def load(cls, folder: Path, *, dtype: torch.dtype, device: torch.device | str) -> PackedEncoder:
        """Read a folder's encoder.

        Raises:
            ModelError: it has something that would not be served exactly, or its weights are not all there.
        """
        shape = read_shape(folder)
        return cls.build(shape, Weights.open(folder, prefix=names.encoder_names(shape.family).prefix), dtype, device)

    @classmethod
    def build(cls, shape: Shape, weights: Weights, dtype: torch.dtype, device: torch.device | str) -> PackedEncoder:
        """Make an encoder of a shape from weights that are open already; raises as `load` does."""
        where = Where(device=torch.device(device), dtype=dtype)
        return cls._build(shape, weights, where, ways_to_attend(weights, shape, where), make_linear)

    @classmethod
    def build_reference(cls, shape: Shape, weights: Weights, device: torch.device | str) -> PackedEncoder:
        """Make one in float32 to compare a few texts with. On the CPU most weights stay in the file, as they are."""
        where = Where(device=torch.device(device), dtype=torch.float32)
        return cls._build(shape, weights, where, plain_way_to_attend(weights, shape, where), PlainLinear)

    @classmethod
    def _build(cls, shape: Shape, weights: Weights, where: Where, ways: Ways, make: MakeLinear) -> PackedEncoder:
        with torch.inference_mode():
            place: Place = lambda weight: weight.to(where.device, where.dtype)  # noqa: E731  # its type says more
            called = names.encoder_names(shape.family)
            layers = [
                load_layer(weights, called, shape, index, place=place, make_linear=make)
                for index in range(shape.layers)
            ]
            embeddings = load_embeddings(weights, shape, device=where.device, dtype=where.dtype)
            return cls(shape, embeddings, layers, ways, where.dtype)

    @torch.inference_mode()
    def forward(self, sequences: Sequence[Sequence[int]], type_ids: TypeIds = None) -> Packed:
        """Run token sequences, special tokens included, and return their hidden states.

        Args:
            sequences: one or more, each of 1 to `shape.tokens_max` token ids.
            type_ids: one for each token id; families without token types do not look at them.

        Raises:
            ValueError: a sequence is empty or too long, an id is not in its table, or type_ids has another shape.
        """
        lengths = [len(sequence) for sequence in sequences]
        self._check(lengths, type_ids)
        layout = lay_out(lengths, rounded=self._rounded)
        numbers = self._embeddings.read(layout, sequences, type_ids)
        hidden = None if self._graphs is None else self._graphs.run(layout, numbers)
        if hidden is None:
            attend = self._attention.prepare(layout, self.dtype, self.device)
            hidden = self._run(numbers.to(self.device), attend)
        return _packed(hidden, layout)

    @property
    def has_graphs(self) -> bool:
        """Tell whether batches of the sizes that it has met are replayed, instead of launched kernel by kernel."""
        return self._graphs is not None and self._graphs.are_used

    def _run(self, numbers: Numbers, attend: Attend) -> Tensor:
        hidden = self._embeddings(numbers).to(self.dtype)
        for layer in self._layers:
            hidden = layer(hidden, attend)
        return hidden

    def _check(self, lengths: Sequence[int], type_ids: TypeIds) -> None:
        if not lengths or min(lengths) < 1 or max(lengths) > self.shape.tokens_max:
            raise ValueError(f"sequences must be one or more, and of 1 to {self.shape.tokens_max} tokens")
        if type_ids is not None and [len(types) for types in type_ids] != lengths:
            raise ValueError("token types must be as many as the tokens of each sequence")


def _packed(hidden: Tensor, layout: Layout) -> Packed:
    places = sorted(range(len(layout.order)), key=layout.order.__getitem__)
    # Together, for each way to a card takes as long as a layer.
    told = torch.tensor([*layout.starts, *places]).to(hidden.device)
    begun = len(layout.starts)
    return Packed(hidden=hidden[: layout.tokens], offsets=told[:begun], places=told[begun:])
