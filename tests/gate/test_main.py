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

NEEDLESS = {
    *("certifi", "cryptography", "httpx", "jwt", "sqlite3"),
    *(
        "firebase_admin",
        "firebase_functions",
        "google.auth",
        "google.cloud.firestore",
        "google.cloud.storage",
        "grpc",
        "requests",
    ),
    *("gate.callers.dev", "gate.callers.emulator", "gate.endpoints.api", "gate.ledgers.sqlite", "gate.watchroom"),
}
DATACLASSES = """
import dataclasses, sys, main
gate = [vars(module) for name, module in sys.modules.items() if name.startswith("gate.") and name != "gate.wire"]
print(*(name for names in gate for name, value in names.items() if dataclasses.is_dataclass(value)
        and value.__module__ == names["__name__"]))
"""


def import_main(**env: str) -> subprocess.CompletedProcess[str]:
    return run("import main", **env)


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(FUNCTIONS)}
    return subprocess.run(
        [sys.executable, "-c", code], env={**path, **env}, capture_output=True, text=True, check=False
    )


def test_it_imports_with_an_empty_environment() -> None:
    """firebase-tools imports it to see what there is."""
    assert import_main().returncode == 0


def test_a_complete_deployed_instance_starts() -> None:
    assert import_main(**DEPLOYED).returncode == 0


def test_a_deployed_instance_imports_nothing_that_its_first_call_can_do_without() -> None:
    """Each of these takes milliseconds of every cold start, and memory of every instance."""
    started = run("import sys, main; print(*sys.modules)", **DEPLOYED)

    loaded = set(started.stdout.split())
    assert "gate.callers.firebase" in loaded, started.stderr
    assert loaded & NEEDLESS == set()


def test_a_cold_start_makes_no_dataclasses() -> None:
    """Each would take half a millisecond. `gate.wire` has some: the worker shares it, and has no msgspec."""
    started = run(DATACLASSES, **DEPLOYED)

    assert (started.returncode, started.stdout.split()) == (0, []), started.stderr


FORKING = """
import gc, os, main
from gate import bootstrap
child = os.fork()
if child == 0:
    resting = not gc.isenabled()
    bootstrap.hop1()
    os._exit(resting and gc.isenabled())
print(gc.isenabled(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_the_collector_of_garbage_works_again_once_hop_1_is_made() -> None:
    """It rests for as long as things are imported; in the server's master, until that has forked."""
    told = run(FORKING, **DEPLOYED)

    assert told.stdout == "True 1\n", told.stderr


def test_a_deployed_instance_checks_its_settings_without_the_gate() -> None:
    """The rest is imported while the first caller's documents are under way, not before."""
    started = run("import sys, main; print(*sys.modules)", **DEPLOYED)

    loaded = set(started.stdout.split())
    assert "gate.providers.runpod" in loaded, started.stderr
    assert loaded & {"gate.assembly", "gate.endpoints.callables", "gate.guard.dead_man", "gate.service"} == set()


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
