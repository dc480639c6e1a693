"""The peers' environments: one for each file of pinned requirements, made once and kept in `.bench`."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

PEERS = Path(__file__).resolve().parent / "peers"
_BUILD = "import sys; print(sys.version)"
_VERSIONS = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"


def programs(name: str, folder: Path, requirements: Path | None = None, *, python: str = sys.executable) -> Path:
    """Return where the programs of an environment are; the first time, it is made.

    Args:
        name: of the environment.
        folder: to make it in; the file's hash is in its name, so that other pins are another environment.
        requirements: the pins; `peers/requirements-{name}.txt` unless said.
        python: the interpreter that it is of.
    """
    requirements = requirements or PEERS / f"requirements-{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + build_of(python).encode()).hexdigest()
    place = folder / f"{name}-{digest[:12]}"
    if not (place / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n", "utf-8")
        # Without pip, which a system's own interpreter may lack: the one that runs this installs for all.
        subprocess.run([python, "-m", "venv", "--without-pip", "--clear", str(place)], check=True)
        _install(place / "bin", requirements)
        (place / "installed").touch()
    return place / "bin"


def _install(place: Path, requirements: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(place / "python")]
    pip += ["install", "--quiet", "--disable-pip-version-check"]
    # As the Makefile has it: where the CPU's build of torch comes from.
    if index := os.environ.get("TORCH_INDEX"):
        torch = next(line for line in requirements.read_text("utf-8").splitlines() if line.startswith("torch=="))
        subprocess.run([*pip, torch, "--index-url", index], check=True)
    subprocess.run([*pip, "--requirement", str(requirements)], check=True)


@cache
def build_of(python: str) -> str:
    """Return an interpreter's version, and when and by which compiler it was built."""
    done = subprocess.run([python, "-c", _BUILD], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def versions(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages that are installed beside an interpreter."""
    done = subprocess.run([str(python), "-c", _VERSIONS, *packages], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found
