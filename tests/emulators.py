"""The official Firestore and Pub/Sub emulators: ones that run already, or are started here and stopped for sure."""

from __future__ import annotations

import atexit
import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from functools import cache
from pathlib import Path

import httpx

from tests.missing import missing
from twohop.loopback import free_port

_MAIN_CLASS = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
_CACHED = ".cache/firebase/emulators"
_IN_CLOUD_CLI = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
_PUBSUB_IN_CLOUD_CLI = "platform/pubsub-emulator/lib"
_START_SECONDS_MAX = 60.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
_REMEDY = (
    "Install Java 17 or later and the emulator: `npx firebase-tools setup:emulators:firestore`, or "
    "`gcloud components install cloud-firestore-emulator`, or set FIRESTORE_EMULATOR_HOST to one that runs"
)
_PUBSUB_REMEDY = (
    "Install Java 17 or later and the emulator: `gcloud components install pubsub-emulator`, or set "
    "PUBSUB_EMULATOR_HOST to one that runs"
)
_project_numbers = itertools.count(1)


def firestore_emulator() -> str:
    """Return the `host:port` of an emulator, or skip the test. All tests of a run share one."""
    host, reason = _firestore()
    if host is None:
        missing(f"the Firestore emulator ({reason})", _REMEDY)
    return host


def pubsub_emulator() -> str:
    """Return the `host:port` of a Pub/Sub emulator, or skip the test."""
    host = _pubsub()
    if host is None:
        missing("the Pub/Sub emulator", _PUBSUB_REMEDY)
    return host


def fresh_project() -> str:
    """Return a project id that was never used. Projects share nothing, so each test begins with an empty database."""
    return f"demo-{uuid.uuid4().hex[:8]}-{next(_project_numbers)}"


def start_for_this_run(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a program in its own process group, which ends with this run, however the run ends."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - takes no lock
    )
    atexit.register(stop, process)
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and whatever it started. Stopping twice is fine."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def answers(url: str, process: subprocess.Popen[bytes], *, seconds_max: float = _START_SECONDS_MAX) -> bool:
    """Wait until something answers there; False if the program ended or time ran out."""
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(url, timeout=1.0)
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return True
    return False


@cache
def _firestore() -> tuple[str | None, str]:
    """Return where it answers, or None and why."""
    running = os.environ.get("FIRESTORE_EMULATOR_HOST")
    if running:
        return running, ""
    java = _java()
    if java is None:
        return None, "no Java found"
    jars = [*_cached_jars(), *_cloud_cli_jars()]
    started = (host for jar in jars if (host := _start(java, "-cp", str(jar), _MAIN_CLASS)))
    return next(started, None), "its jar does not start" if jars else "its jar was not found"


@cache
def _pubsub() -> str | None:
    running, java, sdk = os.environ.get("PUBSUB_EMULATOR_HOST"), _java(), _cloud_cli()
    if running or java is None or sdk is None:
        return running
    jars = sorted((sdk / _PUBSUB_IN_CLOUD_CLI).glob("cloud-pubsub-emulator-*.jar"))
    started = (host for jar in jars if (host := _start(java, "-jar", str(jar))))
    return next(started, None)


def _start(java: str, *program: str) -> str | None:
    host = f"127.0.0.1:{free_port()}"
    # Serial collection and the first compiler alone start it a third faster, and leave cores to the tests.
    quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx768m"]
    address = ["--host=127.0.0.1", f"--port={host.partition(':')[2]}"]
    process = start_for_this_run([java, *quick, *program, *address])
    if answers(f"http://{host}/", process):
        return host
    stop(process)
    return None


def _java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")


def _cached_jars() -> list[Path]:
    """Newest first, as firebase-tools leaves them."""
    found = (Path.home() / _CACHED).glob("cloud-firestore-emulator-*.jar")
    return sorted(found, key=lambda jar: jar.stat().st_mtime, reverse=True)


def _cloud_cli_jars() -> list[Path]:
    sdk = _cloud_cli()
    jar = sdk / _IN_CLOUD_CLI if sdk else None
    return [jar] if jar and jar.is_file() else []


def _cloud_cli() -> Path | None:
    """Return where the Google Cloud CLI lies."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return None
    question = [gcloud, "info", "--format=value(installation.sdk_root)"]
    told = subprocess.run(question, capture_output=True, text=True, timeout=60, check=False)
    return Path(told.stdout.strip()) if told.stdout.strip() else None


def _die_with_parent() -> None:
    """Ask Linux to kill the child when pytest dies, even by kill -9, when no atexit handler runs."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
