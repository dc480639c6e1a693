"""A worker with a handler that needs no model, for either loop: `python stub.py own|sdk`.

What a job's input says is what the handler does. JOBS_MAX, and the addresses, come from the environment.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "gpu_worker"), str(ROOT / "functions")]


async def handle(job: dict[str, Any]) -> Any:
    told = job["input"]
    if not isinstance(told, dict):
        return {"echo": told}
    await asyncio.sleep(told.get("ms", 0) / 1_000)
    if told.get("crash"):
        raise RuntimeError("/a/path with details")
    if told.get("object"):
        return {"answer": object()}
    if told.get("nan"):
        return {"answer": float("nan")}
    if told.get("bytes"):
        return {"answer": "x" * told["bytes"]}
    if told.get("error"):
        return {"error": told["error"]}
    return {"echo": told}


def main() -> int:
    jobs_max = int(os.environ.get("JOBS_MAX", "4"))
    if sys.argv.pop(1) == "sdk":
        os.environ.setdefault("RUNPOD_LOG_LEVEL", "ERROR")
        import runpod

        runpod.serverless.start({"handler": handle, "concurrency_modifier": lambda _: jobs_max})
        return 0
    from worker.log import EventLog
    from worker.queue import QueueSettings, run_queue

    seconds_max = float(os.environ.get("STOP_SECONDS_MAX", "10"))
    settings = QueueSettings.from_env(os.environ, jobs_max=jobs_max, stop_seconds_max=seconds_max)
    return asyncio.run(run_queue(lambda job, _: handle(job), settings, log=EventLog()))


if __name__ == "__main__":
    sys.exit(main())
