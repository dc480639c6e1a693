"""A RunPod handler that answers at once: what RunPod's own local server runs in these tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2] / "functions"))

import runpod

from gate import wire


def handle(job: dict[str, Any]) -> dict[str, Any]:
    """Check the signature and answer as Twohop's worker does; `inputs` choose how it ends."""
    request = wire.SignedRequest.from_envelope(job["input"])
    secret = os.environ["WORKER_SECRET"].encode()
    wire.verify(request, secrets=[secret], now_ms=request.issued_ms)
    inputs = wire.WorkBody.decode(request.body).inputs
    if inputs == "crash":
        raise RuntimeError("CUDA out of memory at a path of this machine")
    if inputs == "bad":
        return {"result": wire.WorkResult(failure=wire.WorkFailure(code="invalid-argument", message="no")).to_json()}
    return {"result": wire.WorkResult(outputs=inputs, usage=wire.WorkUsage(execution_ms=1)).to_json()}


if __name__ == "__main__":
    runpod.serverless.start({"handler": handle})
