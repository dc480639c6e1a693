"""A worker that answers before torch is imported answers as it does afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from gate import wire
from tests.worker.makers import SECRET
from worker.engine import Engine
from worker.engines import open_engine
from worker.engines.early.embeddings import EarlyEmbeddingsEngine
from worker.engines.early.relay import COSINE_MIN, RelayEngine
from worker.errors import InputError
from worker.folder import find_folder
from worker.settings import Limits, Settings
from worker.start import warm_up

_TEXTS = ["", "hello", "Ärger mit Umlauten, 漢字", "a long one " * 200]


def _ask(engine: Engine, inputs: Any, **parameters: Any) -> Any:
    work = engine.prepare(wire.WorkBody(model="", inputs=inputs, parameters=parameters))
    return work.finish(engine.compute(work.items))


@pytest.mark.model
def test_numbers_and_errors_are_the_same_before_and_after() -> None:
    """The real MiniLM, through the settings that the image has."""
    settings = Settings.from_env({"WORKER_SECRET": SECRET, "EARLY": "on"})
    early = EarlyEmbeddingsEngine(find_folder(settings.model), Limits())
    early.load()
    relay = open_engine(settings)
    assert isinstance(relay, RelayEngine)
    relay.import_libraries()
    relay.load()
    warm_up(relay)
    relay.check()

    for normalize in (True, False):
        pairs = zip(*(_ask(engine, _TEXTS, normalize=normalize) for engine in (early, relay)), strict=True)
        for one, other in pairs:
            product = sum(a * b for a, b in zip(one, other, strict=True))
            assert product / (sum(a * a for a in one) * sum(b * b for b in other)) ** 0.5 >= COSINE_MIN
    for engine in (early, relay):
        with pytest.raises(InputError, match="truncate is false"):
            _ask(engine, _TEXTS, truncate=False)


@pytest.mark.model
def test_a_model_that_is_too_large_for_numpy_waits_for_torch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a second is not worth its weights twice in memory; the log says that it was left out."""
    monkeypatch.setattr("worker.engines.early.encoder._WEIGHTS_MB_MAX", 10)
    engine = open_engine(Settings.from_env({"WORKER_SECRET": SECRET, "EARLY": "on"}))
    engine.import_libraries()
    engine.load()

    assert "weights of 90 MB are not answered early" in capsys.readouterr().out
    assert len(_ask(engine, ["hello"])[0]) == 384
