"""The real MiniLM, from text to vector, and what the packed path imports."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.worker.packed.makers import hidden
from worker.engines.packed import read_shape, supports
from worker.engines.packed.encoder import PackedEncoder
from worker.engines.packed.pooling import pool
from worker.engines.packed.probe import least_cosine
from worker.engines.packed.tokenizer import PackedTokenizer
from worker.errors import ModelError
from worker.folder import Pooling

pytestmark = pytest.mark.model

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "",
    "Ein Satz mit Umlauten: äöü, und ein Emoji 🦊",
    "short",
    "long " * 700,
    "[PAD] and [SEP] in a text",
    "The fox again. " * 12,
]
_RUN = """
import sys
from pathlib import Path
from worker.engines.packed import supports
assert supports(Path({folder!r})) and "torch" not in sys.modules
import torch
from worker.folder import Pooling
from worker.engines.packed.opening import open_encoder
from worker.engines.packed.heads import SequenceHead, TokenHead
from worker.engines.packed.pooling import pool
from worker.engines.packed.tokenizer import PackedTokenizer
from worker.log import EventLog
encoder = open_encoder(Path({folder!r}), device="cpu", log=EventLog(sys.stderr))
tokens = PackedTokenizer.load(Path({folder!r}), encoder.shape).encode(["hello"])
assert pool(encoder.forward([tokens[0].ids]), Pooling.MEAN).shape == (1, 384)
print(*[name for name in ("transformers", "sentence_transformers", "huggingface_hub") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def tokenizer(minilm_folder: Path) -> PackedTokenizer:
    return PackedTokenizer.load(minilm_folder, read_shape(minilm_folder), tokens_max=256)


@pytest.fixture(scope="module")
def plain_tokenizer(minilm_folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(minilm_folder)


@pytest.fixture(scope="module")
def encoder(minilm_folder: Path) -> PackedEncoder:
    return PackedEncoder.load(minilm_folder, dtype=torch.float32, device="cpu")


def test_vectors_are_those_of_transformers(
    minilm_folder: Path, encoder: PackedEncoder, tokenizer: PackedTokenizer
) -> None:
    model = transformers.AutoModel.from_pretrained(minilm_folder).eval()
    given_tokens = [tokens.ids for tokens in tokenizer.encode(TEXTS)]
    vectors = pool(encoder.forward(given_tokens), Pooling.MEAN)
    expected = torch.stack([hidden(model, tokens).mean(0) for tokens in given_tokens])

    assert supports(minilm_folder)
    torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5)


def test_bf16_is_good_enough(minilm_folder: Path, encoder: PackedEncoder) -> None:
    short = PackedEncoder.load(minilm_folder, dtype=torch.bfloat16, device="cpu")

    assert least_cosine(short, encoder) >= 0.999


def test_tokens_are_those_of_transformers(tokenizer: PackedTokenizer, plain_tokenizer: Any) -> None:
    expected = plain_tokenizer(TEXTS, truncation=True, max_length=256, return_offsets_mapping=True)
    made = tokenizer.encode(TEXTS, spans=True)

    assert [tokens.ids for tokens in made] == expected["input_ids"]
    assert [tokens.ids for tokens in tokenizer.encode(TEXTS)] == expected["input_ids"]
    assert not any(any(types) for types in expected["token_type_ids"])
    assert [tokens.type_ids for tokens in made] == [None] * len(TEXTS)
    assert [tokens.spans for tokens in made] == expected["offset_mapping"]


def test_pairs_are_those_of_transformers(tokenizer: PackedTokenizer, plain_tokenizer: Any) -> None:
    pairs = [(one, other) for one in TEXTS for other in TEXTS]
    expected = plain_tokenizer(pairs, truncation=True, max_length=256)
    made = tokenizer.encode(pairs)

    assert [tokens.ids for tokens in made] == expected["input_ids"]
    assert [tokens.type_ids for tokens in made] == expected["token_type_ids"]


def test_a_text_that_may_not_be_cut_shows_that_it_is_too_long(tokenizer: PackedTokenizer) -> None:
    """By one token, and at the same time as others are cut."""
    counts: list[int] = []
    cutting = threading.Thread(
        target=lambda: counts.extend(len(tokens) for _ in range(20) for tokens in tokenizer.encode(TEXTS))
    )
    cutting.start()
    told = [max(map(len, tokenizer.encode(TEXTS, truncate=False))) for _ in range(20)]
    cutting.join()

    assert set(told) == {257}
    assert max(counts) == 256


def test_files_that_differ_on_a_tokenizer_are_refused(minilm_folder: Path, tmp_path: Path) -> None:
    """Which of them is right is for transformers to say."""
    shutil.copy(minilm_folder / "tokenizer.json", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))

    with pytest.raises(ModelError, match="do_lower_case"):
        PackedTokenizer.load(tmp_path, read_shape(minilm_folder))


@pytest.mark.parametrize("content", [None, "{}"], ids=["none", "not one"])
def test_a_folder_without_a_tokenizer_is_refused(minilm_folder: Path, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)

    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        PackedTokenizer.load(tmp_path, read_shape(minilm_folder))


def test_the_packed_path_never_imports_transformers(minilm_folder: Path) -> None:
    """That import takes longer than all the rest of a start; and looking at a folder imports no torch either."""
    code = f"import sys; sys.path[:0] = {sys.path!r}\n{_RUN.format(folder=str(minilm_folder))}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
