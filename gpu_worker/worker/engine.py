"""The engine port: what runs a model. A new task or another way to run one is a new engine under `worker.engines`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from gate import wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model made of one request."""

    outputs: Any
    """JSON-ready and finite, in the order of the inputs."""
    tokens: int
    """Tokens that went through the model, without padding."""


class Engine(Protocol):
    """One model. Its methods are called from one thread, in the order below."""

    def import_libraries(self) -> None:
        """Import what takes seconds to import, so that its time is told apart."""
        ...

    def load(self) -> None:
        """Read the weights onto the device.

        Raises:
            ModelError: it cannot be served rightly.
        """
        ...

    def run(self, body: wire.WorkBody) -> Answer:
        """Run one request; also called once before the first, to warm up. An error leaves the engine usable.

        Raises:
            InputError: inputs or parameters are not what the task takes.
        """
        ...
