"""twohop-client as npm would have it, installed beside Firebase's SDK, with an app that uses it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra import suite_parts
from infra.suite_parts import NODE_MODULES, ROOT, MissingPartError
from tests.e2e.suite import Client
from tests.missing import missing

SOURCE = ROOT / "web" / "client"


def install(folder: Path) -> Path:
    """Pack the client as `npm publish` would, unpack it under a folder, and return the folder.

    Or skip the test if Node.js or the SDK is not here.
    """
    try:
        node, _ = suite_parts.node(), suite_parts.firebase_tools()
    except MissingPartError as exc:
        missing(exc.what, exc.remedy)
    npm = Path(node).with_name("npm")
    packed = subprocess.run(
        [str(npm), "pack", str(SOURCE), "--pack-destination", str(folder), "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    [about] = json.loads(packed.stdout)
    modules = folder / "node_modules"
    modules.mkdir()
    with tarfile.open(folder / about["filename"]) as archive:
        archive.extractall(folder, filter="data")
    (folder / "package").rename(modules / "twohop-client")
    for name in ("firebase", "@firebase"):
        (modules / name).symlink_to(NODE_MODULES / name)
    for script in (ROOT / "tests" / "js").glob("twohop*"):
        shutil.copytree(script, folder / script.name) if script.is_dir() else shutil.copy(script, folder)
    return folder


@contextmanager
def app(folder: Path, where: Mapping[str, Any]) -> Iterator[Client]:
    """Run the app of `tests/js/twohop.mjs`, and end it."""
    with subprocess.Popen(
        [suite_parts.node(), str(folder / "twohop.mjs"), json.dumps(dict(where))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Client(process)
        finally:
            process.kill()
