"""The HTTP front's life: it listens at once, loads behind that, and on SIGTERM finishes what it took."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from worker.engine import Engine
from worker.http.app import make_app
from worker.http.door import Door
from worker.jobs.service import Service
from worker.log import EventLog
from worker.settings import Settings

_CONNECTIONS_SECONDS_MAX = 5
"""How long a client may take to read its answer once all jobs are done."""


async def serve(
    settings: Settings, service: Service, *, open_engine: Callable[[], Engine], log: EventLog, began_ms: float
) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code.

    0 when every job that was taken was answered; 1 when the model could not be loaded, or a job outlasted
    `stop_seconds_max`. An address that is taken ends the process at once, with uvicorn's message and code.
    """
    door = Door(jobs_max=settings.limits.jobs_max)
    server = _make_server(settings, service, door, log)
    stop = _stop_signal()
    serving = asyncio.create_task(server.serve())
    # Importing torch would slow the listening down, and a host takes a closed port for a dead container.
    await server.listening.wait()
    loading = asyncio.wrap_future(service.load(open_engine, began_ms=began_ms))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, loading, stopping), return_when=asyncio.FIRST_COMPLETED)
    loaded = loading.done() and loading.exception() is None
    if loaded:
        door.open()
        # Not before: whoever reads it may send a job at once.
        log.info("worker.ready", start_ms=loading.result())
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    door.shut()
    log.info("worker.stopping")
    emptied = await door.emptied(seconds_max=settings.stop_seconds_max)
    if not emptied:
        door.give_up()
        await door.emptied(seconds_max=_CONNECTIONS_SECONDS_MAX)
    server.should_exit = True
    await serving
    log.info("worker.stopped", jobs_finished=emptied)
    return 0 if emptied and stop.is_set() else 1


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _make_server(settings: Settings, service: Service, door: Door, log: EventLog) -> _Server:
    app = make_app(service, door, body_bytes_max=settings.limits.body_bytes_max, metrics=settings.metrics)
    _tell_as_events(log)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        timeout_graceful_shutdown=_CONNECTIONS_SECONDS_MAX,
    )
    return _Server(config, log)


def _tell_as_events(log: EventLog) -> None:
    """Have what uvicorn says come as events: a host takes each line of a plain traceback for an entry of its own."""
    said = logging.getLogger("uvicorn.error")
    said.handlers, said.propagate = [_Events(log)], False


class _Events(logging.Handler):
    def __init__(self, log: EventLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        reason = record.getMessage()
        if record.levelno < logging.ERROR:
            self._log.warning("http.server", reason=reason)
        else:
            self._log.error("http.server", record.exc_info[1] if record.exc_info else None, reason=reason)


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: that closes the port first, where jobs should be told to go elsewhere."""

    def __init__(self, config: uvicorn.Config, log: EventLog) -> None:
        super().__init__(config)
        self._log = log
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        ports = sorted({sock.getsockname()[1] for server in self.servers for sock in server.sockets})
        self._log.info("worker.listening", host=self.config.host, port=ports[0])
        self.listening.set()
