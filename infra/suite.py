"""Twohop's suite: the Firebase emulators with hop 1 in them and a real worker behind it, started and stopped as one.

Hop 1 runs from the sources in `functions/` as they are, so that an edit is live at once. All that the suite writes
lies in one temporary folder, except `functions/venv`, which firebase-tools wants there and nowhere else. When the
suite stops, nothing of it is left: no process, no port, no file.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import httpx

from infra import suite_parts
from infra.suite_parts import FUNCTIONS, ROOT
from infra.suite_process import SuiteError, process, wait_until
from twohop.loopback import free_port

PROJECT = "demo-twohop"
"""A name that begins with demo- has no project in the cloud, so that the emulators reach nobody's."""
REGION = "us-central1"
HOST = "127.0.0.1"

_INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "FIREBASE_EMULATORS_PATH")
"""What the suite takes from the shell. Anything else there, credentials above all, is not its business."""
_INIT_SECONDS_MAX = 60
_READY = "All emulators ready"
_BROKEN = "Failed to load function definition"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where everything listens. The defaults are firebase-tools' own."""

    auth: int = 9099
    functions: int = 5001
    firestore: int = 8080
    websocket: int = 9150
    hosting: int = 5000
    hub: int = 4400
    logging: int = 4500
    eventarc: int = 9299
    tasks: int = 9499
    worker: int = 8500


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite that runs."""

    ports: Ports
    folder: Path
    """Holds its configuration and its log while it runs."""
    settings: Mapping[str, str]
    """Hop 1's settings and secrets."""

    @property
    def log(self) -> Path:
        """Everything that the emulators and the functions say."""
        return self.folder / "suite.log"

    @property
    def worker_log(self) -> Path:
        """Everything that the worker says."""
        return self.folder / "worker.log"

    def callable_url(self, name: str) -> str:
        """Return the address of a callable function."""
        return f"http://{HOST}:{self.ports.functions}/{PROJECT}/{REGION}/{name}"


def free_ports() -> Ports:
    """Return ports that nobody listens on, for a suite that starts soon."""
    return Ports(**{field.name: free_port() for field in fields(Ports)})


@contextmanager
def running(ports: Ports, *, settings: Mapping[str, str] | None = None, hosting: bool = False) -> Iterator[Suite]:
    """Start everything, wait until it serves, and stop it in the end whatever happens.

    Args:
        ports: where to listen.
        settings: hop 1's settings beside those that lead it to the worker.
        hosting: serve `web/` too.

    Raises:
        MissingPartError: a part is not on this machine.
        SuiteError: it did not start in time.
    """
    _check_free(ports)
    folder = Path(tempfile.mkdtemp(prefix="twohop-suite-"))
    try:
        suite = Suite(ports=ports, folder=folder, settings=_settings(ports) | dict(settings or {}))
        command, env = _emulators_command(hosting=hosting), _emulators_env(suite)
        _lay_out(suite)
        with (
            process(_worker_command(), env=_worker_env(suite), log=suite.worker_log) as worker,
            process(command, env=env, log=suite.log) as emulators,
        ):
            wait_until(lambda: _emulators_ready(suite.log), emulators, "the emulators", suite.log)
            ready = f"http://{HOST}:{ports.worker}/readyz"
            wait_until(lambda: _answers(ready), worker, "the worker", suite.worker_log)
            yield suite
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_starter_documents(suite: Suite) -> None:
    """Write the first plans and budget, as an owner does: by `twohop init`.

    Raises:
        SuiteError: it failed; the message is the command's own.
    """
    command = [sys.executable, "-m", "twohop.cli", "--ledger", "firestore", "--project", PROJECT, "init"]
    env = inherited_env() | {"FIRESTORE_EMULATOR_HOST": f"{HOST}:{suite.ports.firestore}"}
    ran = subprocess.run(
        command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=_INIT_SECONDS_MAX, check=False
    )
    if ran.returncode:
        raise SuiteError(f"`twohop init` failed: {ran.stderr}")


def inherited_env() -> dict[str, str]:
    """Return what a process of the suite may know of the shell that started it."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def _settings(ports: Ports) -> dict[str, str]:
    return {
        "PROVIDER": "container",
        "CONTAINER_URL": f"http://{HOST}:{ports.worker}/infer",
        "WORKER_SECRET": secrets.token_hex(32),
        "TOKEN_SECRET": secrets.token_hex(32),
        "WEBHOOK_URL": f"http://{HOST}:{ports.functions}/{PROJECT}/{REGION}/webhook",
        # Not used here; but a secret that a function declares and that is not set is looked up in Google's cloud.
        "RUNPOD_API_KEY": "not-used-by-the-emulators",
    }


def _lay_out(suite: Suite) -> None:
    """Make a Firebase project folder: links to the sources, with this suite's own ports and settings beside them."""
    functions = suite.folder / "functions"
    functions.mkdir()
    config = json.loads((ROOT / "firebase.json").read_text())
    config["functions"][0]["runtime"] = suite_parts.functions_runtime(suite.log)
    config["emulators"] = _emulator_config(suite.ports)
    (suite.folder / "firebase.json").write_text(json.dumps(config, indent=2))
    for name in ("firestore.rules", "firestore.indexes.json", "web"):
        # Resolved strictly: without its rules the Firestore emulator would let anybody do anything.
        (suite.folder / name).symlink_to((ROOT / name).resolve(strict=True))
    modules = [path.name for path in FUNCTIONS.glob("*.py")]
    for name in (*modules, "gate", "requirements.txt", "venv"):
        (functions / name).symlink_to(FUNCTIONS / name)
    lines = "".join(f"{name}={value}\n" for name, value in suite.settings.items())
    # Both files may hold a setting: what a function declares as a secret is read from the second alone.
    (functions / ".env.local").write_text(lines)
    (functions / ".secret.local").write_text(lines)


def _emulator_config(ports: Ports) -> dict[str, object]:
    names = ("auth", "functions", "firestore", "hosting", "hub", "logging", "eventarc", "tasks")
    config: dict[str, object] = {name: {"host": HOST, "port": getattr(ports, name)} for name in names}
    config["firestore"] = {"host": HOST, "port": ports.firestore, "websocketPort": ports.websocket}
    return {**config, "ui": {"enabled": False}, "singleProjectMode": True}


def _emulators_command(*, hosting: bool) -> list[str]:
    services = "auth,functions,firestore" + ",hosting" * hosting
    return [*suite_parts.firebase_command(), "emulators:start", "--project", PROJECT, "--only", services]


def _emulators_env(suite: Suite) -> dict[str, str]:
    env = inherited_env()
    env["PATH"] = f"{suite_parts.java_folder()}{os.pathsep}{env.get('PATH', '')}"
    # firebase-tools keeps sign-ins of its user there; the suite needs none, and is given none.
    env["XDG_CONFIG_HOME"] = str(suite.folder / "config")
    jar = suite_parts.firestore_jar()
    if jar is not None:
        env["FIRESTORE_EMULATOR_BINARY_PATH"] = str(suite_parts.runnable_jar(jar, suite.folder))
    return env


def _worker_command() -> list[str]:
    return [sys.executable, str(ROOT / "gpu_worker" / "server.py")]


def _worker_env(suite: Suite) -> dict[str, str]:
    own = {"WORKER_SECRET": suite.settings["WORKER_SECRET"], "HOST": HOST, "PORT": str(suite.ports.worker)}
    return inherited_env() | own | {"PYTHONPATH": os.pathsep.join([str(FUNCTIONS), str(ROOT / "gpu_worker")])}


def _emulators_ready(log: Path) -> bool:
    text = log.read_text(errors="replace")
    if _BROKEN in text:
        raise SuiteError(f"the functions do not load; the log ends with:\n{text[-4000:]}")
    return _READY in text


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _check_free(ports: Ports) -> None:
    for name, port in zip((field.name for field in fields(Ports)), astuple(ports), strict=True):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                raise SuiteError(f"something listens on {HOST}:{port} already, where {name} should; stop it first")
