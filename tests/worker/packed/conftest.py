"""The models of the packed encoder's tests: made once, used by all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch

from tests.worker.packed import makers
from worker.engines.packed.encoder import PackedEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A model as `transformers` has it, and the folder that it was saved to."""

    model: Any
    folder: Path

    def encoder(self, dtype: torch.dtype = torch.float32) -> PackedEncoder:
        return PackedEncoder.load(self.folder, dtype=dtype, device="cpu")


class Make(Protocol):
    def __call__(self, family: str, kind: str = "Model") -> Made: ...


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return a maker of random models; the same model for the same arguments."""

    @cache
    def made(family: str, kind: str = "Model") -> Made:
        folder = tmp_path_factory.mktemp(family)
        return Made(model=makers.save(folder, family, kind=kind), folder=folder)

    return made


@pytest.fixture(params=makers.FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)
