"""A worker as a host with a card starts it: it says what it runs on, answers, and tells what it used of the card."""

from __future__ import annotations

import math
import time

import httpx
import pytest
import torch

from tests.worker.makers import make_request
from tests.worker.processes import running

MINILM = "all-minilm-l6-v2"


@pytest.mark.model
@pytest.mark.parametrize("early", ["off", "on"])
def test_a_worker_chooses_the_card_and_says_so(early: str) -> None:
    with running("server.py", EARLY=early) as worker:
        port = worker.event("worker.listening")["port"]
        if early == "off":
            chosen = worker.event("device.chosen")
            assert (chosen["device"], chosen["dtype"]) == ("cuda:0", "bfloat16")
            assert chosen["title"] == torch.cuda.get_device_name(0)
        worker.event("worker.ready")
        request = make_request("hello", model=MINILM, now_ms=time.time_ns() // 1_000_000)
        answer = httpx.post(
            f"http://127.0.0.1:{port}/infer", content=request.body, headers=request.to_headers(), timeout=60
        ).json()

        assert math.isclose(sum(one * one for one in answer["outputs"]), 1, rel_tol=1e-3)
        assert answer["usage"]["memory_peak_mib"] > 0
        assert worker.stop() == 0
