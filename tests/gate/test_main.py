"""The deployed endpoints' own file: what it needs to be imported, and when it refuses to start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).parents[2] / "functions"
DEPLOYED = {
    "K_SERVICE": "infer",
    "K_REVISION": "infer-00001-abc",
    "GCLOUD_PROJECT": "my-project",
    "RUNPOD_ENDPOINT_ID": "abc123",
    "RUNPOD_API_KEY": "key",
    "WORKER_SECRET": "s" * 64,
}


def import_main(**env: str) -> subprocess.CompletedProcess[str]:
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(FUNCTIONS)}
    return subprocess.run(
        [sys.executable, "-c", "import main"], env={**path, **env}, capture_output=True, text=True, check=False
    )


def test_it_imports_with_an_empty_environment() -> None:
    """firebase-tools imports it to see what there is."""
    assert import_main().returncode == 0


def test_a_complete_deployed_instance_starts() -> None:
    assert import_main(**DEPLOYED).returncode == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({"FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:9099"}, "FIREBASE_AUTH_EMULATOR_HOST", id="emulator"),
        pytest.param({"SIGN_IN": "dev", "DEV_SIGN_IN_SECRET": "d" * 64}, "SIGN_IN=dev", id="dev-sign-in"),
        pytest.param({"RUNPOD_API_KEY": ""}, "RUNPOD_API_KEY", id="no-key"),
        pytest.param({"HARDWARE": "runpod/TOASTER"}, "TOASTER", id="no-price"),
        pytest.param({"HARDWARE": "cloudrun/L4"}, "PULL_SECONDS", id="no-word-on-what-is-billed"),
        pytest.param({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS", id="any-origin"),
    ],
)
def test_a_deployed_instance_that_is_not_set_up_refuses_to_start(changes: dict[str, str], named: str) -> None:
    """The deployment fails and says why; the instances before it go on."""
    started = import_main(**{**DEPLOYED, **changes})

    assert started.returncode != 0
    assert named in started.stderr
