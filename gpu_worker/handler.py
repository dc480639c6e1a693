"""The worker behind RunPod's queue: `python gpu_worker/handler.py`. The only importer of `runpod`.

A job's `input` is `wire.SignedRequest.to_envelope()`. Its `output` is always `{"result": WorkResult.to_json()}`, for
failures too. RunPod's SDK takes a top-level `error` for its own: an error that is no text is swallowed, and the job
ends COMPLETED without output. Inside `result` it arrives as it is, so a job that our worker refused is COMPLETED for
RunPod, and `output["result"]["error"]` says why. FAILED always means that the worker itself broke.

To try it on this machine, with RunPod's own local server:

    python gpu_worker/handler.py --rp_serve_api --rp_api_port 8001
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

# The gate's wire.py lies beside this folder, in the repository and in the image alike.
sys.path.append(str(Path(__file__).resolve().parent.parent / "functions"))

from gate import wire
from worker.clock import SystemClock
from worker.engines import open_engine
from worker.errors import RefusedError, SettingsError, UnauthenticatedError
from worker.log import EventLog
from worker.service import Service
from worker.settings import Settings

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def make_handler(service: Service) -> Handler:
    """Return what RunPod's SDK calls with each job. It never raises: the SDK would give the traceback away."""

    async def handle(job: dict[str, Any]) -> dict[str, Any]:
        try:
            request = _read(job.get("input"))
            service.admit(request)
        except RefusedError as exc:
            return {"result": service.refuse(exc).to_json()}
        return {"result": (await service.answer(request)).to_json()}

    return handle


def _read(envelope: Any) -> wire.SignedRequest:
    if not isinstance(envelope, dict):
        raise UnauthenticatedError("the job's input is not an object")
    try:
        return wire.SignedRequest.from_envelope(envelope)
    except wire.SignatureError as exc:
        raise UnauthenticatedError(str(exc)) from exc


def main() -> None:
    """Load the model, then take jobs until RunPod stops the worker."""
    clock, log = SystemClock(), EventLog()
    began_ms = clock.monotonic_ms()
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as exc:
        sys.exit(f"the worker does not start: {exc}")
    service = Service(settings, clock=clock, log=log)
    _start(service, settings, began_ms)
    # The SDK's own default is DEBUG, which writes each job's texts and answer into the log.
    os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")
    import runpod  # two seconds, and only once the model stands

    runpod.serverless.start({"handler": make_handler(service)})


def _start(service: Service, settings: Settings, began_ms: float) -> None:
    try:
        service.load(lambda: open_engine(settings), began_ms=began_ms).result()
    except Exception as exc:  # whatever it was is in the log, with its traceback
        sys.exit(f"the worker does not start: {exc}")


if __name__ == "__main__":
    main()
