"""Models for the worker's tests: the real MiniLM, and a tiny classifier that is made here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gate import wire
from tests.worker.makers import SECRET
from worker.engine import Engine
from worker.engines import open_engine
from worker.settings import Settings

WORDS = ["good", "bad", "fine", "awful", "the", "film", "was", "really", "not", "very", "long", "and", "short"]


@dataclass(frozen=True)
class Ran:
    outputs: Any
    tokens: int


Run = Callable[..., Ran]


def load(**env: str) -> Run:
    """Return a function that runs one job on a freshly loaded engine; in float32, whatever is faster here."""
    engine: Engine = open_engine(Settings.from_env({"WORKER_SECRET": SECRET, "DTYPE": "float32", **env}))
    engine.import_libraries()
    engine.load()

    def run(inputs: Any, **parameters: Any) -> Ran:
        work = engine.prepare(wire.WorkBody(model="", inputs=inputs, parameters=parameters))
        return Ran(outputs=work.finish(engine.compute(work.items)), tokens=work.tokens)

    return run


@pytest.fixture(scope="session")
def run_minilm() -> Run:
    """The packaged MiniLM, cut into small batches so that each job takes several."""
    return load(BATCH_TOKENS_MAX="200")


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    return Path(Settings.from_env({"WORKER_SECRET": SECRET}).model)


@pytest.fixture(scope="session")
def make_classifier(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a maker of random classifiers: `make(num_labels=…, problem_type=…)` gives a folder."""

    def make(*, num_labels: int = 3, **config: Any) -> Path:
        import torch
        import transformers

        torch.manual_seed(11)
        folder = tmp_path_factory.mktemp("classifier")
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        made = transformers.BertConfig(
            **sizes,
            **config,
            vocab_size=len(WORDS) + 5,
            max_position_embeddings=16,
            num_labels=num_labels,
            initializer_range=0.5,
            id2label={index: f"label {index}" for index in range(num_labels)},
        )
        transformers.BertForSequenceClassification(made).save_pretrained(folder)
        _save_tokenizer(folder)
        return folder

    return make


def _save_tokenizer(folder: Path) -> None:
    import tokenizers
    import transformers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
