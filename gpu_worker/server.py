"""The worker behind plain HTTP, for every host that runs a container with a port: `python gpu_worker/server.py`.

`worker/settings.py` lists the environment variables; WORKER_SECRET is the one that must be set. `worker/http/app.py`
lists the routes.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

# The gate's wire.py lies beside this folder, in the repository and in the image alike.
sys.path.append(str(Path(__file__).resolve().parent.parent / "functions"))

from worker.clock import SystemClock
from worker.engines import open_engine
from worker.errors import SettingsError
from worker.hardware.failures import end_soon
from worker.hardware.machine import read_cores_max
from worker.jobs.service import Service
from worker.libraries import tell_libraries
from worker.log import EventLog
from worker.settings import Settings
from worker.turns import take_long_turns


def main() -> int:
    """Serve until told to stop, and return the exit code."""
    clock, log = SystemClock(), EventLog()
    began_ms = clock.monotonic_ms()
    tell_libraries(os.environ, cores_max=read_cores_max())
    take_long_turns()
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as exc:
        sys.exit(f"the worker does not start: {exc}")
    from worker.http.life import serve  # uvicorn and Starlette, after the settings are known to be right

    service = Service(settings, clock=clock, log=log, on_broken=end_soon)
    serving = serve(settings, service, open_engine=partial(open_engine, settings), log=log, began_ms=began_ms)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(serving)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the faster event loop; it is not made for Windows."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # The interpreter's own exit would wait for the compute thread, which may be in the middle of loading a model.
    os._exit(code)
