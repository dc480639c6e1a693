"""`make demo`, the first thing that anybody runs: its story goes as told, or says what did not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.model


def told(**settings: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "80", **settings}
    command = [sys.executable, "-m", "twohop.cli", "demo"]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_the_story_goes_as_told() -> None:
    """Each step checks what it shows, so the last line is the proof of all."""
    story = told()

    assert story.returncode == 0, story.stdout + story.stderr
    assert story.stdout.rstrip().splitlines()[-1].startswith("Every step went as told.")


def test_a_step_that_goes_otherwise_is_named_and_ends_the_story(tmp_path: Path) -> None:
    """Here the model's answers come in the wrong order."""
    (tmp_path / "mine.py").write_text("def postprocess(outputs, parameters):\n    return outputs[::-1]\n")

    story = told(CODE=str(tmp_path / "mine.py"))

    assert story.returncode == 1
    assert "The story went wrong:" in story.stdout
    assert "Every step went as told" not in story.stdout


def test_hops_that_do_not_start_say_why() -> None:
    story = told(MODEL="/no/such/folder")

    assert story.returncode == 1
    assert "MODEL=/no/such/folder: there is no such folder" in story.stderr
