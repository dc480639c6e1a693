"""The engine port: what runs a model. A new task or another way to run one is a new engine under `worker.engines`.

An engine works in three steps, so that requests which arrive together run together: `prepare` turns a request into
items (tokens, say), `compute` runs items of any requests in one go, and the work's own `finish` turns its items' rows
into the request's outputs. `worker.batching.batcher` decides which items go together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from gate import wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that goes through the model beside others: a text, or a pair of texts."""

    length: int
    """In tokens, without padding."""
    payload: Any
    """The engine's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A request, ready to be computed."""

    items: Sequence[Item]
    finish: Callable[[Sequence[Any]], Any]
    """Turns the items' rows, in the items' order, into outputs: JSON, or numpy's arrays of finite numbers."""
    written: Callable[[Sequence[Any]], int] = lambda _: 0
    """Tells how many tokens were written to get the rows, where the engine is not one that `Writes`."""

    @property
    def tokens(self) -> int:
        """Tokens that go through the model, without padding."""
        return sum(item.length for item in self.items)


class Engine(Protocol):
    """One model. `prepare` may be called from several threads at once, all else from one thread."""

    def import_libraries(self) -> None:
        """Import what takes seconds to import, so that its time is told apart."""
        ...

    def load(self) -> None:
        """Read the weights onto the device.

        Raises:
            ModelError: it cannot be served rightly.
        """
        ...

    def prepare(self, body: wire.WorkBody) -> Work:
        """Read a request.

        Raises:
            InputError: inputs or parameters are not what the task takes.
        """
        ...

    def compute(self, items: Sequence[Item]) -> Sequence[Any]:
        """Run items through the model, and return one row for each, in order. An error leaves the engine usable.

        Raises:
            OutOfMemoryError: they do not fit into memory together.
            BrokenDeviceError: the device answers no more; the process has to end.
            InputError: an item is at fault, which shows only now.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What one step added to one item."""

    item: Item
    text: str
    """The new piece; often empty, for a character may take several tokens."""
    row: Any = None
    """The item's row, once it has come to its end. It has left the engine then."""
    tokens: int = 0
    """All that were written, once it has come to its end."""


@runtime_checkable
class Writes(Protocol):
    """An engine whose items are written token by token: new ones join while others are under way.

    All is called from the compute thread, and raises as `Engine.compute` does.
    """

    def room(self, item: Item) -> int:
        """Return how many tokens' keys and values an item may come to need."""
        ...

    def begin(self, items: Sequence[Item]) -> Sequence[Written]:
        """Read prompts and write the first token to each. An error leaves those under way as they were."""
        ...

    def step(self) -> Sequence[Written]:
        """Write one token to each item under way. After an error all of them are to be dropped."""
        ...

    def drop(self, items: Sequence[Item]) -> None:
        """Forget items that are under way."""
        ...


@runtime_checkable
class Quick(Protocol):
    """An engine that prepares and finishes a short request in less time than it takes to wake a thread for it."""

    @property
    def quick_bytes_max(self) -> int:
        """Return how long a request may be, in bytes, to be read where it came; 0 if none may."""
        ...


@runtime_checkable
class WarmsUp(Protocol):
    """An engine that knows what to try itself with. Any other is given two texts."""

    def warm_up(self) -> None:
        """Do what is slow the first time. It is called once, when the model is loaded; it raises as a job would."""
        ...
