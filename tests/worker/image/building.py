"""Builds the worker's image without a Docker engine: buildah, on a base made of Debian's own packages.

pip's settings and certificates are this machine's, as it says itself; they are mounted while the image is built, and
no layer has them.
"""

from __future__ import annotations

import ast
import configparser
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.missing import missing

ROOT = Path(__file__).resolve().parents[3]
_SUITE = "bookworm"
"""Its Python is one that the worker supports."""
_PACKAGES = "python3,python3-venv,ca-certificates"
_NEEDED = ("buildah", "debootstrap")
_CERTIFICATES = Path("/etc/ssl/certs")
_BASE, _IMAGE = "localhost/debian", "localhost/worker"


def require_tools() -> None:
    """Skip where an image cannot be built."""
    lacking = [name for name in _NEEDED if shutil.which(name) is None]
    if lacking:
        missing(
            f"{' and '.join(lacking)} to build the worker's image", "On Debian: apt-get install buildah debootstrap"
        )
    if os.geteuid() != 0:
        missing("the right to make a root file system for the worker's image", "Run the tests as root")


class Builder:
    """A store of images in a folder of its own, of which nothing is left behind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._env = {**os.environ, "BUILDAH_ISOLATION": "chroot", "TMPDIR": str(folder)}

    def make_base(self) -> None:
        """Make a small Debian with Python, as `python:3.12-slim` is one."""
        container = self._buildah("from", "scratch")
        mirror = [uri] if (uri := _mirror()) else []
        command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE]
        _run([*command, self._buildah("mount", container), *mirror], env=self._env)
        self._buildah("umount", container)
        self._buildah("commit", "--quiet", "--rm", container, _BASE)

    def build(self) -> dict[str, Any]:
        """Build the Dockerfile as it is, and return the image's configuration."""
        dockerfile = ROOT / "gpu_worker/Dockerfile"
        self._buildah(
            "bud",
            "--pull=never",
            "--format=docker",
            f"--build-arg=BASE={_BASE}",
            f"--ignorefile={dockerfile}.dockerignore",
            *(f"--volume={path}:{target}:ro" for path, target in self._mounts()),
            f"--file={dockerfile}",
            f"--tag={_IMAGE}",
            str(ROOT),
        )
        config: dict[str, Any] = json.loads(self._buildah("inspect", "--type=image", _IMAGE))["Docker"]["config"]
        return config

    @contextmanager
    def container(self) -> Iterator[Container]:
        """Return a container of the image, until the context ends."""
        name = self._buildah("from", "--pull=never", _IMAGE)
        root = Path(self._buildah("mount", name))
        try:
            yield Container(root=root, command=self._command("run"), name=name, env=self._env)
        finally:
            self._buildah("umount", name)
            self._buildah("rm", name)

    def _mounts(self) -> Iterator[tuple[Path, Path]]:
        settings = _pip_settings()
        config = configparser.RawConfigParser()
        config.read_dict({"global": settings})
        written = self._folder / "pip.conf"
        with written.open("w") as file:
            config.write(file)
        yield written, Path("/etc/pip.conf")
        yield from ((path, path) for path in sorted({_CERTIFICATES, *_paths(settings)}))

    def _command(self, *arguments: str) -> list[str]:
        store = [f"--root={self._folder}/store", f"--runroot={self._folder}/run", "--storage-driver=vfs"]
        return ["buildah", *store, *arguments]

    def _buildah(self, *arguments: str) -> str:
        return _run(self._command(*arguments), env=self._env)


class Container:
    """A container of the image."""

    def __init__(self, *, root: Path, command: Sequence[str], name: str, env: dict[str, str]) -> None:
        self.root = root
        """Its files, as they are seen from outside."""
        self._run, self._name, self._env = list(command), name, env

    def start(self, command: Sequence[str], **env: str) -> subprocess.Popen[str]:
        """Run a command as the image's own user, in a process group of its own."""
        told = [f"--env={name}={value}" for name, value in env.items()]
        return subprocess.Popen(
            [*self._run, *told, self._name, "--", *command],
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def _run(command: Sequence[str], *, env: dict[str, str]) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4_000:]}\n{done.stderr[-4_000:]}"
    return done.stdout.strip().rpartition("\n")[2] if "inspect" not in command else done.stdout


def _mirror() -> str:
    """Return the address that this machine has Debian's packages from, or nothing for the usual one."""
    if shutil.which("apt-get") is None:
        return ""
    told = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", f"Release: {_SUITE}"], env={**os.environ})
    return told.partition("\n")[0]


def _pip_settings() -> dict[str, str]:
    """Return what pip is told here, by files and by its environment, which counts for more."""
    lines = _run_all([sys.executable, "-m", "pip", "config", "list"])
    settings: dict[str, str] = {}
    for name, _, value in sorted((line.partition("=") for line in lines if "=" in line), key=_counts_for_more):
        settings[name.rpartition(".")[2]] = ast.literal_eval(value)
    return settings


def _counts_for_more(setting: tuple[str, str, str]) -> bool:
    return setting[0].startswith(":env:")


def _run_all(command: Sequence[str]) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def _paths(settings: dict[str, str]) -> Iterator[Path]:
    """Return the files and folders that settings name. What a folder of links points to lies beside it."""
    for word in " ".join(settings.values()).split():
        url = urlsplit(word)
        path = Path(url.path)
        if url.scheme not in {"", "file"} or not path.is_absolute() or not path.exists():
            continue
        yield path.parent if url.scheme == "file" and len(path.parts) > 2 else path
