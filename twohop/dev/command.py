"""`twohop dev`: start both hops on this machine, and leave them running."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import click
import uvicorn
from rich.console import Console

from gate.assembly import Hop1
from gate.bootstrap import make_hop1
from gate.callers.dev import DevSignIn
from gate.errors import GateError
from gate.log import EventLog
from gate.parts import SystemClock
from gate.settings import Settings
from twohop.cloud.faults import CloudFaults, cloud_faults
from twohop.commands.init import write_starters
from twohop.configured import DEV_PROJECT, TOKEN_SECRET_FILE
from twohop.dev.app import make_app
from twohop.dev.cloud import DevCloud, cloud_environment
from twohop.dev.worker_process import WorkerError, WorkerProcess

_STOP_SECONDS = 5
"""How long open calls may take to end; a stream may go on for minutes."""

_console = Console(stderr=True, highlight=False)


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8787, envvar="PORT", show_default=True)
@click.option("--model", envvar="MODEL", help="A hub id or a folder. Default: the packaged all-MiniLM-L6-v2.")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".twohop"),
    show_default=True,
    help="Folder of the ledger and the logs.",
)
@click.option("--quiet", is_flag=True, help="Write hop 1's events to gate.log in that folder, not to the terminal.")
@click.option(
    "--cloud",
    is_flag=True,
    envvar="CLOUD",
    help="Instead of the model, a GPU cloud that costs nothing: workers that start and idle, and a bill, at /cloud.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME=CHANCE",
    help="What goes wrong in that cloud, and how often: crashed=0.1. Again for more.",
)
def dev(port: int, model: str | None, state: Path, quiet: bool, *, cloud: bool, faults: tuple[str, ...]) -> None:
    """Run both hops on this machine: SQLite ledger, dev sign-in, the model on this CPU."""
    _check_port(port)
    if cloud:
        _dev_on_cloud(port, model, state, quiet=quiet, faults=cloud_faults(faults))
        return
    if faults:
        raise click.UsageError("--fault is about the cloud; add --cloud")
    state.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that `finally` below stops the worker
    worker_secret = secrets.token_hex(32)
    worker = WorkerProcess(secret=worker_secret, model=model, log_path=state / "worker.log")
    worker.start()
    try:
        hop2 = {"PROVIDER": "local", "LOCAL_WORKER_URL": worker.url}
        settings = Settings.from_env(_environment(state, model, hop2, worker_secret, port))
        with suppress(KeyboardInterrupt), _events(state, quiet=quiet) as events:
            hop1 = make_hop1(settings, log=EventLog(events))  # What is wrong with it is told before the wait.
            _wait_for_model(worker)
            _serve(hop1, port)
    except (GateError, WorkerError) as exc:
        raise click.ClickException(str(exc)) from exc
    finally:
        worker.stop()


def _dev_on_cloud(port: int, model: str | None, state: Path, *, quiet: bool, faults: CloudFaults) -> None:
    state.mkdir(parents=True, exist_ok=True)
    try:
        settings = Settings.from_env(
            _environment(state, model, cloud_environment(port), _kept_secret(state / "worker_secret"), port)
        )
        with suppress(KeyboardInterrupt), _events(state, quiet=quiet) as events:
            log = EventLog(events)
            hop1 = make_hop1(settings, log=log)
            _serve(hop1, port, DevCloud(hop1, folder=state, faults=faults))
    except GateError as exc:
        raise click.ClickException(str(exc)) from exc


def _wait_for_model(worker: WorkerProcess) -> None:
    begun = time.monotonic()
    if not _console.is_terminal:
        _console.print("Loading the model …")
    with _console.status("Loading the model …") as status:
        worker.wait_until_ready(lambda seconds: status.update(f"Loading the model … {seconds:.0f} s"))
    seconds = time.monotonic() - begun
    _console.print(
        f"[dim]The model is loaded ({seconds:.1f} s); hop 2 is {worker.url}, its log {worker.log_path}[/dim]"
    )


@contextmanager
def _events(state: Path, *, quiet: bool) -> Iterator[TextIO]:
    if not quiet:
        yield sys.stderr
        return
    with (state / "gate.log").open("a", encoding="utf-8") as file:
        yield file


def _environment(
    state: Path, model: str | None, hop2: Mapping[str, str], worker_secret: str, port: int
) -> dict[str, str]:
    """Return the settings of the embedded default; the operator's own environment goes first."""
    return {
        "GCLOUD_PROJECT": DEV_PROJECT,
        "POLICY_SECONDS": "1",
        **{name: value for name, value in os.environ.items() if name not in ("K_SERVICE", "MODEL")},
        **({"MODEL": model} if model else {}),
        "LEDGER": "sqlite",
        "SQLITE_PATH": str(state / "ledger.sqlite3"),
        "SIGN_IN": "dev",
        "DEV_SIGN_IN_SECRET": _kept_secret(state / "sign_in_secret"),
        "TOKEN_SECRET": _kept_secret(state / TOKEN_SECRET_FILE),
        **hop2,
        "WORKER_SECRET": worker_secret,
        "WEBHOOK_URL": f"http://127.0.0.1:{port}/{DEV_PROJECT}/us-central1/webhook",
        "RESULT_FOLDER": str(state / "results"),
        "RESULT_BUCKET": "",
    }


def _kept_secret(path: Path) -> str:
    """Return a secret of this folder, so that what it signed outlives a restart."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32), "utf-8")
    return path.read_text("utf-8")


def _serve(hop1: Hop1, port: int, cloud: DevCloud | None = None) -> None:
    settings = hop1.settings
    asyncio.run(write_starters(hop1.store))
    sign_in = DevSignIn(secret=settings.dev_sign_in_secret.reveal(), clock=SystemClock(), deployed=settings.deployed)
    app = make_app(hop1, sign_in, project=DEV_PROJECT, cloud=cloud)
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    _Server(config).run()


class _Server(uvicorn.Server):
    """Says where it is, once it really is there."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            click.echo(f"Twohop is ready at http://127.0.0.1:{self.config.port}")


def _check_port(port: int) -> None:
    """Find out before the model is loaded, not after."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise click.ClickException(f"port {port} is taken; choose another: PORT={port + 1} make dev") from exc
