"""What the JavaScript client tells TypeScript."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from infra import suite_parts
from infra.suite_parts import NODE_MODULES, ROOT
from tests.client import published
from tests.missing import missing

_USES = ROOT / "tests" / "js" / "types"
_CLASS = "const { TwohopClient } = await import('twohop-client');"
_METHODS = "console.log(Object.getOwnPropertyNames(TwohopClient.prototype).filter((name) => name[0] !== '_').join())"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TypeScript app that has the client from npm."""
    folder = tmp_path_factory.mktemp("typed")
    published.install(folder)
    if not (NODE_MODULES / "typescript").exists():
        missing("TypeScript", "run `npm ci --ignore-scripts --prefix tests/js`")
    for file in _USES.iterdir():
        shutil.copy(file, folder)
    # As a source file: declarations are not checked, because Firebase's own need what is not in every browser yet.
    shutil.copy(published.SOURCE / "src" / "index.d.ts", folder / "declared.ts")
    (folder / "package.json").write_text('{"type": "module"}', "utf-8")
    return folder


def node(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [suite_parts.node(), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def test_every_right_use_compiles_and_every_wrong_one_does_not(app: Path) -> None:
    """Strictly, the declarations themselves too; a wrong use that compiles is an error."""
    compiled = node(app, str(NODE_MODULES / "typescript" / "bin" / "tsc"), "-p", str(app))

    assert (compiled.returncode, compiled.stdout) == (0, "")
    assert (app / "uses.ts").read_text("utf-8").count("@ts-expect-error") > 8


def test_what_is_declared_is_there_and_what_is_there_is_declared(app: Path) -> None:
    """Exports, and the methods of the client."""
    declared = (published.SOURCE / "src" / "index.d.ts").read_text("utf-8")
    client = re.search(r"class TwohopClient \{(.*?)\n\}", declared, re.DOTALL)
    assert client
    methods = {*re.findall(r"^  (\w+)[<(]", client[1], re.MULTILINE)}
    values = {*re.findall(r"^export declare (?:class|function) (\w+)", declared, re.MULTILINE)}

    exported = node(app, "-e", "console.log(Object.keys(await import('twohop-client')).sort().join())")
    there = node(app, "-e", f"{_CLASS} {_METHODS}")

    assert {*exported.stdout.strip().split(",")} == values, exported.stderr
    assert {*there.stdout.strip().split(",")} == methods, there.stderr
