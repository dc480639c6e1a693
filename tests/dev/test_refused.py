"""`make dev` with what cannot be says so at once, in one line that names it and the remedy."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from twohop.loopback import free_port


def refused(folder: Path, port: int, **settings: str) -> list[str]:
    """Start it, and return what it says on its way out."""
    command = [sys.executable, "-m", "twohop.cli", "dev", "--port", str(port), "--state", str(folder)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **settings}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    return (ended.stdout + ended.stderr).splitlines()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HARDWARE", "runpod/NOTHING", "Add it to functions/gate/prices/runpod.json with its date and source"),
        ("IDLE_SECONDS", "soon", "IDLE_SECONDS='soon' is not a whole number from 0 to 999999999"),
    ],
)
def test_a_setting_of_hop_1_is_refused_before_the_model_is_waited_for(
    name: str, value: str, said: str, tmp_path: Path
) -> None:
    """A model may take minutes, to be told then of a slip of the hand."""
    [line] = refused(tmp_path, free_port(), **{name: value})

    assert line.endswith(said)


def test_a_port_that_is_taken_is_named_with_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        [line] = refused(tmp_path, port)

    assert line == f"Error: port {port} is taken; choose another: PORT={port + 1} make dev"
