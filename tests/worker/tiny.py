"""Small random models of every task, made on the spot, and jobs that are computed together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gate import wire
from tests.worker.makers import SECRET
from worker.engine import Engine
from worker.engines import open_engine
from worker.settings import Settings
from worker.start import warm_up

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [
    "ann",
    "ber",
    "lin",
    "lives",
    "in",
    "the",
    "film",
    "was",
    "good",
    "bad",
    "not",
    "very",
    "long",
    "who",
    "example",
]
PIECES = ["##lin", "##s", "##ly", "##a", ".", "?", ",", "this", "is"]
VOCABULARY = [*SPECIAL, *WORDS, *PIECES]


def make_model(folder: Path, architecture: str, *, positions: int = 64, seed: int = 11, **config: Any) -> Path:
    """Save a random BERT of an architecture, such as `BertForMaskedLM`, with a WordPiece tokenizer."""
    import torch
    import transformers

    torch.manual_seed(seed)
    made = transformers.BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        vocab_size=len(VOCABULARY),
        max_position_embeddings=positions,
        initializer_range=0.5,
        **config,
    )
    getattr(transformers, architecture)(made).save_pretrained(folder)
    _save_tokenizer(folder, positions)
    return folder


def _save_tokenizer(folder: Path, positions: int) -> None:
    import tokenizers
    import transformers

    ids = {word: index for index, word in enumerate(VOCABULARY)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = tokenizers.decoders.WordPiece()
    names = {f"{word[1:-1].lower()}_token": word for word in SPECIAL}
    transformers.BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=positions, **names).save_pretrained(
        folder
    )


def open_model(folder: Path, **env: str) -> Engine:
    """Return a loaded engine that has warmed up, as a worker's has; in float32, whatever is faster here."""
    engine = open_engine(
        Settings.from_env({"WORKER_SECRET": SECRET, "MODEL": str(folder), "DTYPE": "float32", **env})
    )
    engine.import_libraries()
    engine.load()
    warm_up(engine)
    return engine


def run(engine: Engine, inputs: Any, **parameters: Any) -> Any:
    """Run one job alone."""
    return run_together(engine, [(inputs, parameters)])[0]


def run_together(engine: Engine, jobs: Sequence[tuple[Any, dict[str, Any]]]) -> list[Any]:
    """Run jobs in one batch, as the batcher does: an item of each in turn."""
    works = [engine.prepare(wire.WorkBody(model="", inputs=inputs, parameters=given)) for inputs, given in jobs]
    turns = sorted((place, index) for index, work in enumerate(works) for place in range(len(work.items)))
    rows = engine.compute([works[index].items[place] for place, index in turns])
    computed = dict(zip(turns, rows, strict=True))
    return [
        work.finish([computed[place, index] for place in range(len(work.items))]) for index, work in enumerate(works)
    ]
