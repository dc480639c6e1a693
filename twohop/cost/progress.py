"""A bar on stderr while something long is simulated; nothing where stderr is no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

_Item = TypeVar("_Item")


class Progress(Protocol):
    """Shows how far a long computation is."""

    def each(self, items: Sequence[_Item], what: str) -> Iterator[_Item]:
        """Yield the items, and count those that are done."""


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Show a bar that says what is done until all is; it goes away then, so that it is in no output."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        # Nobody knows how far one simulation is, so its bar pulses; a sweep counts what it has tried.
        task = shown.add_task(what, total=None)

        class _Shown:
            def each(self, items: Sequence[_Item], what: str) -> Iterator[_Item]:
                shown.update(task, description=what, total=len(items), completed=0)
                for item in items:
                    yield item
                    shown.advance(task)
                shown.update(task, total=None)

        yield _Shown()
