"""The worker behind RunPod's queue: `python gpu_worker/handler.py`. It alone imports `runpod`, and only if told to.

A job's `input` is `wire.SignedRequest.to_envelope()`. Its `output` is always `{"result": WorkResult.to_json()}`, for
failures too. RunPod's SDK takes a top-level `error` for its own: an error that is no text is swallowed, and the job
ends COMPLETED without output. Inside `result` it arrives as it is, so a job that our worker refused is COMPLETED for
RunPod, and `output["result"]["error"]` says why. FAILED always means that the worker itself broke.

RUNPOD_LOOP says what speaks to the queue: `own`, the loop in `worker.queue`, or `sdk`, RunPod's own. Where RunPod has
set its addresses it is `own`, unless told otherwise. To try it on this machine, with a queue that goes wrong as
queues do, or with RunPod's own local server:

    python gpu_worker/fake_queue.py --jobs 100 --model all-minilm-l6-v2 -- python gpu_worker/handler.py
    python gpu_worker/handler.py --rp_serve_api --rp_api_port 8001
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

# The gate's wire.py lies beside this folder, in the repository and in the image alike.
sys.path.append(str(Path(__file__).resolve().parent.parent / "functions"))

from gate import wire
from worker.batching.request import Sink
from worker.clock import SystemClock
from worker.encoding import without_arrays
from worker.engines import open_engine
from worker.errors import RefusedError, SettingsError, UnauthenticatedError, UnfinishedError
from worker.hardware.failures import end_soon
from worker.hardware.machine import read_cores_max
from worker.jobs.parts import Parts
from worker.jobs.service import Service
from worker.libraries import tell_libraries
from worker.log import EventLog
from worker.queue import TAKE_VARIABLE, QueueSettings, run_queue
from worker.settings import Settings
from worker.turns import take_long_turns

StreamHandler = Callable[[dict[str, Any]], AsyncIterator[Any]]

_SDK_ARGUMENTS = ("--rp_serve_api", "--test_input")


class Handler(Protocol):
    """Answers a job. The SDK calls it without a sink."""

    def __call__(self, job: dict[str, Any], sink: Sink | None = None) -> Awaitable[dict[str, Any]]:
        """Return the job's output."""
        ...


def make_handler(service: Service) -> Handler:
    """Return what is called with each job. It never raises: RunPod's SDK would give the traceback away."""

    async def handle(job: dict[str, Any], sink: Sink | None = None) -> dict[str, Any]:
        try:
            request = _read(job.get("input"))
            service.admit(request)
        except RefusedError as exc:
            return {"result": service.refuse(exc).to_json()}
        return {"result": (await service.answer(request, sink)).to_json()}

    return handle


def make_stream_handler(service: Service) -> StreamHandler:
    """Return what RunPod's SDK calls where the model writes. It yields texts, and at last the job's output."""
    handle = make_handler(service)

    async def stream(job: dict[str, Any]) -> AsyncIterator[Any]:
        parts = Parts()
        answering = asyncio.ensure_future(handle(job, parts))
        try:
            ended = False
            while not ended:
                coming = asyncio.create_task(parts.came())
                await asyncio.wait((answering, coming), return_when=asyncio.FIRST_COMPLETED)
                coming.cancel()
                ended = answering.done()  # Looked at first: more may come while the text is being sent.
                if text := parts.take().text:
                    yield text
            yield answering.result()
        finally:
            answering.cancel()

    return stream


def _read(envelope: Any) -> wire.SignedRequest:
    if not isinstance(envelope, dict):
        raise UnauthenticatedError("the job's input is not an object")
    try:
        return wire.SignedRequest.from_envelope(envelope)
    except wire.SignatureError as exc:
        raise UnauthenticatedError(str(exc)) from exc


def main() -> int:
    """Load the model, take jobs until RunPod stops the worker, and return the exit code."""
    began_ms = SystemClock().monotonic_ms()
    tell_libraries(os.environ, cores_max=read_cores_max())
    take_long_turns()
    try:
        settings = Settings.from_env(os.environ)
        if _is_sdk(os.environ, sys.argv):
            return _run_sdk(settings, began_ms)
        limits = {"jobs_max": settings.limits.jobs_max, "stop_seconds_max": settings.stop_seconds_max}
        queue = QueueSettings.from_env(os.environ, **limits)
    except SettingsError as exc:
        sys.exit(f"the worker does not start: {exc}")
    return asyncio.run(_run_own(settings, queue, began_ms))


def _is_sdk(env: Mapping[str, str], arguments: Sequence[str]) -> bool:
    value = env.get("RUNPOD_LOOP", "").strip()
    if value not in {"", "own", "sdk"}:
        raise SettingsError(f"RUNPOD_LOOP={value!r} is not one of: own, sdk")
    # Only the SDK has a local server, and it alone can do something where there is no queue.
    if any(argument.partition("=")[0] in _SDK_ARGUMENTS for argument in arguments):
        return True
    return value == "sdk" or (not value and not env.get(TAKE_VARIABLE))


async def _run_own(settings: Settings, queue: QueueSettings, began_ms: float) -> int:
    clock, log, broken = SystemClock(), EventLog(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_broken() -> None:
        loop.call_soon_threadsafe(broken.set)  # it comes from the compute thread

    service = Service(settings, clock=clock, log=log, on_broken=on_broken)

    async def load() -> None:
        start_ms = await asyncio.wrap_future(service.load(lambda: open_engine(settings), began_ms=began_ms))
        log.info("worker.ready", start_ms=start_ms)

    unfinished = {"result": _unfinished().to_json()}
    return await run_queue(
        make_handler(service),
        queue,
        log=log,
        ready=asyncio.ensure_future(load()),
        broken=broken,
        unfinished=unfinished,
        clock=clock,
    )


def _unfinished() -> wire.WorkResult:
    exc = UnfinishedError()
    return wire.WorkResult(failure=wire.WorkFailure(code=exc.code, message=str(exc)))


def _run_sdk(settings: Settings, began_ms: float) -> int:
    log = EventLog()
    # The SDK's loop would go on for ever with a device that is broken.
    service = Service(settings, clock=SystemClock(), log=log, on_broken=end_soon)
    try:
        log.info("worker.ready", start_ms=service.load(lambda: open_engine(settings), began_ms=began_ms).result())
    except Exception as exc:  # whatever it was is in the log, with its traceback
        sys.exit(f"the worker does not start: {exc}")
    # The SDK's own default is DEBUG, which writes each job's texts and answer into the log.
    os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")
    import runpod  # two seconds, and only once the model stands

    jobs_max = settings.limits.jobs_max
    # Its queue keeps what a generator yields for those who stream; for all others it has to be told to.
    handler = make_stream_handler(service) if service.writes else _make_sdk_handler(service)
    runpod.serverless.start(
        {"handler": handler, "concurrency_modifier": lambda _: jobs_max, "return_aggregate_stream": True}
    )
    return 0


def _make_sdk_handler(service: Service) -> Callable[[dict[str, Any]], Awaitable[Any]]:
    handle = make_handler(service)

    async def answer(job: dict[str, Any]) -> Any:
        # The SDK makes JSON of it by itself, and knows no arrays.
        return without_arrays(await handle(job))

    return answer


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # The interpreter's own exit would wait for the compute thread, which may be in the middle of loading a model.
    os._exit(code)
