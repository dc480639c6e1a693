"""Engines, which run a model: `open_engine` chooses one, and nothing here is imported before it is needed.

tasks         one module for each task that reads; a task's engine is over one of the ways to run a model:
packed        the BERT family, without padding and without `transformers`
general       any architecture, by `transformers`
generation    models that write: continuous batching, and sequence to sequence
early         numpy, while torch is still being imported
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import assert_never

from worker.engine import Engine
from worker.engines.packed import supports
from worker.engines.preferred import PreferredEngine
from worker.folder import check_folder, find_folder, read_layout, read_task
from worker.log import EventLog
from worker.settings import Attention, Hardware, Limits, Quantization, Settings, Task

__all__ = ["open_engine"]


def open_engine(settings: Settings) -> Engine:
    """Find the model and return the engine for its task; `load` is still to be called.

    Raises:
        ModelError: there is no such model, or it needs something that this worker would get wrong.
    """
    folder = find_folder(settings.model)
    if settings.code:
        from worker.owner.around import open_own  # most workers have no code of their own

        return open_own(Path(settings.code), folder, settings.limits, built_in=lambda: _built_in(settings, folder))
    return _built_in(settings, folder)


def _built_in(settings: Settings, folder: Path) -> Engine:
    check_folder(folder)
    task = read_task(folder) if settings.task is Task.AUTO else settings.task
    engine = _engine(task, folder, settings)
    if settings.early and task is Task.EMBEDDINGS and isinstance(engine, PreferredEngine):
        return _early(folder, settings.limits, engine)
    return engine


def _early(folder: Path, limits: Limits, engine: Engine) -> Engine:
    from worker.engines.early.embeddings import EarlyEmbeddingsEngine  # brings numpy and tokenizers
    from worker.engines.early.relay import RelayEngine

    return RelayEngine(EarlyEmbeddingsEngine(folder, limits), engine, log=EventLog())


def _engine(task: Task, folder: Path, settings: Settings) -> Engine:  # noqa: PLR0911  # a table, and checked as one
    """Return a task's engine. Each is imported where it is chosen: one worker has one task."""
    limits, hardware = settings.limits, settings.hardware
    match task:
        case Task.EMBEDDINGS:
            from worker.engines.tasks.embeddings import EmbeddingsEngine, PackedEmbeddingsEngine

            return _preferred(
                read_layout(folder).transformer, PackedEmbeddingsEngine, EmbeddingsEngine, folder, limits, hardware
            )
        case Task.TEXT_CLASSIFICATION:
            from worker.engines.tasks.text_classification import PackedTextClassificationEngine as Packed
            from worker.engines.tasks.text_classification import TextClassificationEngine

            return _preferred(folder, Packed, TextClassificationEngine, folder, limits, hardware)
        case Task.RERANKING:
            from worker.engines.tasks.reranking import RerankingEngine

            return RerankingEngine(folder, limits, hardware)
        case Task.TOKEN_CLASSIFICATION:
            from worker.engines.tasks.token_classification import TokenClassificationEngine

            return TokenClassificationEngine(folder, limits, hardware)
        case Task.ZERO_SHOT_CLASSIFICATION:
            from worker.engines.tasks.zero_shot_classification import ZeroShotEngine

            return ZeroShotEngine(folder, limits, hardware)
        case Task.QUESTION_ANSWERING:
            from worker.engines.tasks.question_answering import QuestionAnsweringEngine

            return QuestionAnsweringEngine(folder, limits, hardware)
        case Task.FILL_MASK:
            from worker.engines.tasks.fill_mask import FillMaskEngine

            return FillMaskEngine(folder, limits, hardware)
        case Task.TEXT_GENERATION:
            from worker.engines.generation.engine import TextGenerationEngine

            return TextGenerationEngine(folder, limits, hardware)
        case Task.TRANSLATION | Task.SUMMARIZATION | Task.TEXT2TEXT_GENERATION:
            from worker.engines.generation.seq2seq import Seq2SeqEngine

            return Seq2SeqEngine(task, folder, limits, hardware, languages=settings.languages)
        case Task.AUTO:
            raise AssertionError(task)
        case _:
            assert_never(task)


_Make = Callable[[Path, Limits, Hardware], Engine]


def _preferred(  # noqa: PLR0917  # a folder, and what every engine is made of
    encoder: Path, packed: _Make, general: _Make, folder: Path, limits: Limits, hardware: Hardware
) -> Engine:
    """Return the packed engine for the models that it may serve, with the general one behind it."""
    plain = hardware.quantization is Quantization.NONE and hardware.attention is Attention.AUTO
    if not (plain and supports(encoder)):
        return general(folder, limits, hardware)
    return PreferredEngine(
        packed(folder, limits, hardware), lambda: general(folder, limits, hardware), log=EventLog()
    )
