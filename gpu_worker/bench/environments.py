"""The peers' environments: one for each file of pinned requirements, made once and kept in `.bench`."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

PEERS = Path(__file__).resolve().parent / "peers"
_VERSIONS = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"


def programs(name: str, folder: Path, requirements: Path | None = None) -> Path:
    """Return where the programs of an environment are; the first time, it is made.

    Args:
        name: of the environment.
        folder: to make it in; the file's hash is in its name, so that other pins are another environment.
        requirements: the pins; `peers/requirements-{name}.txt` unless said.
    """
    requirements = requirements or PEERS / f"requirements-{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    place = folder / f"{name}-{digest[:12]}"
    if not (place / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n", "utf-8")
        venv.create(place, with_pip=True, clear=True)
        _install(place / "bin", requirements)
        (place / "installed").touch()
    return place / "bin"


def _install(place: Path, requirements: Path) -> None:
    pip = [str(place / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # As the Makefile has it: where the CPU's build of torch comes from.
    if index := os.environ.get("TORCH_INDEX"):
        torch = next(line for line in requirements.read_text("utf-8").splitlines() if line.startswith("torch=="))
        subprocess.run([*pip, torch, "--index-url", index], check=True)
    subprocess.run([*pip, "--requirement", str(requirements)], check=True)


def versions(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages that are installed beside an interpreter."""
    done = subprocess.run([str(python), "-c", _VERSIONS, *packages], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found
