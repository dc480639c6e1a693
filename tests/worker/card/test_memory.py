"""A card that is full, and one that is broken: the first costs a batch, the second ends the worker."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import torch

from gate import wire
from tests.worker.makers import SECRET
from worker.batching.batcher import Batcher
from worker.clock import SystemClock
from worker.engines import open_engine
from worker.errors import OutOfMemoryError
from worker.hardware.failures import device_errors
from worker.log import EventLog
from worker.settings import Settings

_SECONDS_MAX = 120
_MIB = 1 << 20
_BREAKS = """
import torch
from worker.errors import BrokenDeviceError
from worker.hardware.failures import device_errors
table, ids = torch.zeros(4, 4, device="cuda"), torch.tensor([9], device="cuda")
for attempt in range(2):
    try:
        with device_errors():
            torch.nn.functional.embedding(ids, table).sum().item()
    except BrokenDeviceError:
        print("broken")
"""


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Leave this process some 600 MiB of the card."""
    torch.cuda.empty_cache()
    allowed = torch.cuda.memory_allocated() + 600 * _MIB
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.get_device_properties(0).total_memory)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def make_batcher(stream: io.StringIO, **env: str) -> tuple[Any, Batcher]:
    settings = Settings.from_env({"WORKER_SECRET": SECRET, **env})
    engine = open_engine(settings)
    engine.import_libraries()
    engine.load()
    limits = settings.limits
    batcher = Batcher(
        clock=SystemClock(),
        log=EventLog(stream),
        tokens_max=limits.batch_tokens_max,
        batch_ms_max=limits.batch_ms_max,
    )
    batcher.use(engine)
    return engine, batcher


def submit(engine: Any, batcher: Batcher, inputs: list[str]) -> Future[Any]:
    work = engine.prepare(wire.WorkBody(model="", inputs=inputs, parameters={}))
    return batcher.submit(work, expires_ms=time.time_ns() // 1_000_000 + 1000 * _SECONDS_MAX)


def test_a_batch_that_the_card_cannot_hold_is_halved_and_nobody_fails(little_memory: None) -> None:
    """The rest of the worker's life, its batches are of a size that was seen to fit."""
    stream = io.StringIO()
    engine, batcher = make_batcher(stream, BATCH_TOKENS_MAX="1000000", BATCH_MS_MAX="100000")
    texts = ["word " * 254] * 1_000
    first, second = (submit(engine, batcher, texts).result(_SECONDS_MAX).rows for _ in range(2))

    assert "batch.out_of_memory" in stream.getvalue()
    assert len(first) == len(second) == 1_000
    assert {len(row) for row in (first[0], first[999], second[0], second[999])} == {384}
    assert batcher._fit.tokens < 256 * 1_000


def test_a_full_card_is_not_taken_for_a_broken_one(little_memory: None) -> None:
    with pytest.raises(OutOfMemoryError), device_errors():
        torch.empty(1 << 40, dtype=torch.uint8, device="cuda")

    assert float(torch.ones(1, device="cuda").sum()) == 1


def test_a_broken_context_is_told_as_such_each_time() -> None:
    """In a process of its own, which is lost by it."""
    done = subprocess.run(
        [sys.executable, "-c", _BREAKS],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS_MAX,
    )

    assert done.stdout.split() == ["broken", "broken"], done.stderr[-2000:]
