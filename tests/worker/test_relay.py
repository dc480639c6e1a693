"""The second engine takes over from the first; no job is lost, mixed up or answered by a worker that stays slow."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from gate import wire
from worker.engine import Item, Work
from worker.engines.early.relay import RelayEngine
from worker.errors import BrokenDeviceError, ModelError
from worker.log import EventLog


class _Engine:
    """Answers each text with a vector; its items are its own."""

    def __init__(self, vector: Sequence[float], *, load_error: Exception | None = None) -> None:
        self.vector, self.load_error = list(vector), load_error
        self.may_load = threading.Event()
        self.may_load.set()

    def import_libraries(self) -> None:
        self.may_load.wait()

    def load(self) -> None:
        if self.load_error:
            raise self.load_error

    def prepare(self, body: wire.WorkBody) -> Work:
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        return Work(items=[Item(length=1, payload=(self, text)) for text in texts], finish=list)

    def compute(self, items: Sequence[Item]) -> Sequence[Any]:
        assert all(item.payload[0] is self for item in items)
        return [self.vector for _ in items]


def _start(first: _Engine, second: _Engine) -> tuple[RelayEngine, io.StringIO]:
    stream = io.StringIO()
    relay = RelayEngine(first, second, log=EventLog(stream))
    relay.import_libraries()
    relay.load()
    relay.warm_up()
    return relay, stream


def _ask(relay: RelayEngine) -> list[Any]:
    return list(relay.compute(relay.prepare(wire.WorkBody(model="", inputs="x", parameters={})).items))


def test_the_first_answers_until_the_second_is_warm() -> None:
    """Nobody waits for torch, and nobody is left with numpy."""
    first, second = _Engine([1, 0]), _Engine([1, 0.001])
    second.may_load.clear()
    relay, stream = _start(first, second)
    early = relay.prepare(wire.WorkBody(model="", inputs="early", parameters={}))

    assert _ask(relay) == [[1, 0]]
    second.may_load.set()
    relay.check()
    assert _ask(relay) == [[1, 0.001]]
    late = relay.prepare(wire.WorkBody(model="", inputs="late", parameters={}))
    assert relay.compute([*late.items, *early.items, *late.items]) == [[1, 0.001], [1, 0], [1, 0.001]]
    told = json.loads(stream.getvalue().splitlines()[-1])
    assert told["message"] == "engine.handed_over"
    assert told["cosine_min"] >= 0.999


def test_a_first_that_cannot_serve_the_model_is_passed_over() -> None:
    """The worker then starts as if there were none."""
    relay, _ = _start(_Engine([1, 0], load_error=ModelError("no")), _Engine([0, 1]))

    assert _ask(relay) == [[0, 1]]
    relay.check()


def test_numbers_that_differ_fail_the_baking_and_are_told_in_the_log() -> None:
    """An image whose first answers are others than its later ones is not built."""
    relay, stream = _start(_Engine([1, 0]), _Engine([0, 1]))

    with pytest.raises(ModelError, match="EARLY=off"):
        relay.check()
    assert json.loads(stream.getvalue().splitlines()[-1])["severity"] == "WARNING"


def test_a_second_that_does_not_load_ends_the_worker_at_its_next_job() -> None:
    """A worker that stays as slow as it began would be billed for it."""
    relay, stream = _start(_Engine([1, 0]), _Engine([1, 0], load_error=OSError("gone")))

    with pytest.raises(ModelError, match="does not load: gone"):
        relay.check()
    with pytest.raises(BrokenDeviceError):
        _ask(relay)
    assert "engine.follow_failed" in stream.getvalue()
