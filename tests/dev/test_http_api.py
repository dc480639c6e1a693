"""The HTTP routes on one machine with the real worker: the README's curl, and OpenAI's packages for two languages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from infra import suite_parts
from tests.dev.running import Dev, dev_running
from tests.missing import missing
from tests.worker.generation.makers import make_decoder

pytestmark = pytest.mark.model

ROOT = Path(__file__).parents[2]
MINILM = "all-minilm-l6-v2"
NO_SUCH_MODEL = {"kind": "NotFoundError", "status": 404, "code": "model_not_found"}


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with dev_running(tmp_path_factory.mktemp("dev")) as dev:
        yield dev


@pytest.fixture(scope="module")
def writing_dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """A model that writes, with a chat template. What it writes makes no sense."""
    folder = make_decoder(tmp_path_factory.mktemp("model") / "tiny-writer", "GPT2", chat=True)
    with dev_running(tmp_path_factory.mktemp("writing"), MODEL=str(folder)) as dev:
        yield dev


def api_token(dev: Dev, uid: str) -> str:
    """Make a token as a page does."""
    payload = {"action": "create", "label": "test", "lifetime": "hour"}
    return str(dev.call("tokens", payload, token=dev.token(uid)).json()["result"]["token"])


def run_js(dev: Dev, *, model: str, writes: bool) -> Any:
    """Run the official package for JS, or say that it is missing."""
    try:
        node = suite_parts.node()
    except suite_parts.MissingPartError as exc:
        missing(exc.what, exc.remedy)
    if not (ROOT / "tests" / "js" / "node_modules" / "openai").is_dir():
        missing("the openai package for JS", "`make test` installs it with npm")
    told = {"baseURL": f"{dev.url}/v1", "apiKey": api_token(dev, "javascript"), "model": model, "writes": writes}
    command = [node, str(ROOT / "tests" / "js" / "openai.mjs"), json.dumps(told)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_readmes_curl_commands_work_as_they_are_copied(dev: Dev, tmp_path: Path) -> None:
    """What the README says to try is tried, in a shell, in a folder in which `make dev` runs."""
    text = (ROOT / "README.md").read_text("utf-8")
    [snippet] = re.findall(r"Beside `make dev`:\n\n((?:    .*\n)+)", text)
    commands = re.sub(r"^    ", "", snippet, flags=re.MULTILINE).replace("http://127.0.0.1:8787", dev.url)
    commands = commands.replace(".venv/bin/twohop", f"{sys.executable} -m twohop.cli")
    (tmp_path / ".twohop").symlink_to(dev.folder)

    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        ["bash", "-euc", commands], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )

    embeddings, vector = (json.loads(line) for line in re.findall(r"\{.*\}(?=\[)|\[[-\d.,e]*\]$", ran.stdout))
    assert embeddings["data"][0]["embedding"] == pytest.approx(vector, abs=1e-6)
    assert len(vector) == 384
    assert embeddings["usage"]["total_tokens"] > 0


def test_the_package_for_js_embeds(dev: Dev) -> None:
    """As does that for Python: both ask for base64 by themselves."""
    answered = run_js(dev, model=MINILM, writes=False)

    assert answered["models"] == [MINILM]
    assert answered["made"]["lengths"] == [384, 384]
    assert answered["made"]["cut"] == pytest.approx(1, abs=1e-5)
    assert answered["made"]["tokens"] > 0
    assert answered["unknown"] == NO_SUCH_MODEL
    assert (answered["malformed"]["kind"], answered["forged"]["kind"]) == ("BadRequestError", "AuthenticationError")


def test_the_package_for_js_writes_and_streams(writing_dev: Dev) -> None:
    """The pieces of a stream are the text that comes at once."""
    answered = run_js(writing_dev, model="tiny-writer", writes=True)

    made = answered["made"]
    assert made["whole"] == made["streamed"] != ""
    assert 0 < made["usage"]["completion_tokens"] <= 8
    assert made["text"] > 0


def test_the_package_for_python_writes_and_streams(writing_dev: Dev) -> None:
    client = openai.OpenAI(base_url=f"{writing_dev.url}/v1", api_key=api_token(writing_dev, "python"), max_retries=0)
    asked: Any = {
        "model": "tiny-writer",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 8,
        "temperature": 0,
    }

    whole = client.chat.completions.create(**asked).choices[0].message.content
    streamed = [
        chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**asked, stream=True)
    ]

    assert "".join(streamed) == whole != ""
    assert sum(bool(piece) for piece in streamed) > 1
    with pytest.raises(openai.BadRequestError, match="does not make embeddings"):
        client.embeddings.create(model="tiny-writer", input="Hello")


def test_a_conversation_with_a_model_that_embeds_is_refused_and_costs_no_run(dev: Dev) -> None:
    """The worker refuses it before it computes anything."""
    client = openai.OpenAI(base_url=f"{dev.url}/v1", api_key=api_token(dev, "chatter"), max_retries=0)

    with pytest.raises(openai.BadRequestError, match="does not write texts"):
        client.chat.completions.create(model=MINILM, messages=[{"role": "user", "content": "Hello"}])


def test_a_token_that_was_revoked_is_refused_at_once(dev: Dev) -> None:
    """Through the callable as a page does it, and on every route."""
    key = api_token(dev, "revoker")
    client = openai.OpenAI(base_url=f"{dev.url}/v1", api_key=key, max_retries=0)
    client.embeddings.create(model=MINILM, input="x")
    id_token = dev.token("revoker")
    [kept] = dev.call("tokens", {"action": "list"}, token=id_token).json()["result"]["tokens"]
    assert kept["last_used_at"] is not None

    dev.call("tokens", {"action": "revoke", "token_id": kept["token_id"]}, token=id_token).raise_for_status()

    with pytest.raises(openai.AuthenticationError):
        client.embeddings.create(model=MINILM, input="x")
    assert dev.call("infer", {"inputs": "x"}, token=key).status_code == 401
    assert dev.call("quota", None, token=key).status_code == 401
