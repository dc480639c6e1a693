"""What `firebase deploy` finds in `functions/` when it looks at that folder alone, and what it uploads of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from infra import suite_parts
from infra.suite_parts import FUNCTIONS, ROOT, MissingPartError
from tests.emulators import answers
from tests.missing import missing
from twohop.loopback import free_port

_LOCAL_ONLY = (".secret.local", ".env.local", "venv/bin/python", "__pycache__/main.pyc", "gate/__pycache__/x.pyc")
_WALK = """
const { readdirRecursive } = require(process.argv[1] + "/lib/fsAsync");
const [, , path, ignore] = process.argv;
readdirRecursive({ path, ignoreStrings: JSON.parse(ignore) })
  .then((files) => console.log(JSON.stringify(files.map((file) => file.name.slice(path.length + 1)))));
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """What firebase-functions' own discovery lists, from a copy with nothing around it and an empty environment."""
    alone = tmp_path_factory.mktemp("alone") / "functions"
    shutil.copytree(FUNCTIONS, alone, ignore=shutil.ignore_patterns("venv", "__pycache__", ".*"))
    port = free_port()
    env = {"PATH": os.environ["PATH"], "HOME": str(alone.parent), "ADMIN_PORT": str(port)}
    command = [sys.executable, "-P", "-m", "firebase_functions.private.serving"]
    with subprocess.Popen(command, cwd=alone, env=env) as process:
        try:
            # Its list can be asked for once: a second import of main.py would declare each secret twice.
            assert answers(f"http://127.0.0.1:{port}/", process), "discovery did not start"
            listed = httpx.get(f"http://127.0.0.1:{port}/__/functions.yaml", timeout=60).raise_for_status()
            yield msgspec.yaml.decode(listed.content)
        finally:
            process.kill()


def test_every_endpoint_is_found(found: Any) -> None:
    """An endpoint that discovery does not see is not deployed, and nobody says so."""
    assert sorted(found["endpoints"]) == [
        *(
            "api",
            "budget",
            "cancel",
            "infer",
            "job",
            "ladder",
            "quota",
            "reconcile",
            "submit",
            "sweep",
            "tokens",
            "webhook",
        ),
    ]
    assert all("scheduleTrigger" in found["endpoints"][name] for name in ("ladder", "reconcile", "sweep"))
    assert found["endpoints"]["budget"]["eventTrigger"]["eventFilters"] == {"topic": "twohop-budget"}


def test_every_endpoint_is_given_its_secrets(found: Any) -> None:
    """A secret that an endpoint does not declare is not there when it runs."""
    wanted = ["RUNPOD_API_KEY", "TOKEN_SECRET", "WORKER_SECRET"]
    declared = {
        name: sorted(secret["key"] for secret in endpoint["secretEnvironmentVariables"])
        for name, endpoint in found["endpoints"].items()
    }

    assert declared == dict.fromkeys(found["endpoints"], wanted)
    assert sorted(param["name"] for param in found["params"] if param["type"] == "secret") == wanted


@pytest.mark.parametrize("name", ["sweep", "ladder", "reconcile", "budget"])
def test_what_watches_is_not_public(found: Any, name: str) -> None:
    """Only Cloud Scheduler and Pub/Sub, which sign in, may call it."""
    assert "httpsTrigger" not in found["endpoints"][name]


def test_the_number_of_instances_is_bounded(found: Any) -> None:
    """Hop 1 is a part of the bill too."""
    assert all(1 <= endpoint["maxInstances"] <= 100 for endpoint in found["endpoints"].values())


def test_what_is_local_is_not_uploaded(tmp_path: Path) -> None:
    """The upload ignores `.gitignore`: what keeps a secret here is the list in firebase.json alone."""
    try:
        node, tools = suite_parts.node(), suite_parts.firebase_tools()
    except MissingPartError as exc:
        missing(exc.what, exc.remedy)
    shutil.copytree(FUNCTIONS, tmp_path / "f", ignore=shutil.ignore_patterns("venv", "__pycache__", ".*"))
    for name in _LOCAL_ONLY:
        (tmp_path / "f" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "f" / name).write_text("local")
    ignored = json.loads((ROOT / "firebase.json").read_text())["functions"][0]["ignore"]

    walk = [node, "-e", _WALK, str(tools), str(tmp_path / "f"), json.dumps(ignored)]
    uploaded = json.loads(subprocess.run(walk, capture_output=True, timeout=60, check=True).stdout)

    assert not set(uploaded) & set(_LOCAL_ONLY)
    assert {"main.py", "requirements.txt", "gate/service.py", "gate/prices/runpod.json"} <= set(uploaded)
