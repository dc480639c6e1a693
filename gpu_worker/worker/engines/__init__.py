"""Engines: one module for each task. `open_engine` chooses; nothing here is imported before it is needed."""

from __future__ import annotations

from typing import assert_never

from worker.engine import Engine
from worker.engines.folder import find_folder, read_task
from worker.settings import Settings, Task

__all__ = ["open_engine"]


def open_engine(settings: Settings) -> Engine:
    """Find the model and return the engine for its task; `load` is still to be called.

    Raises:
        ModelError: there is no such model, or it needs something that this worker would get wrong.
    """
    folder = find_folder(settings.model)
    task = read_task(folder) if settings.task is Task.AUTO else settings.task
    match task:
        case Task.TEXT_CLASSIFICATION:
            from worker.engines.classification import TextClassificationEngine  # one task a worker

            return TextClassificationEngine(folder, settings.limits)
        case Task.EMBEDDINGS:
            from worker.engines.embeddings import EmbeddingsEngine  # one task a worker

            return EmbeddingsEngine(folder, settings.limits)
        case Task.AUTO:
            raise AssertionError(task)
        case _:
            assert_never(task)
