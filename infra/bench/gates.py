"""The gates that are compared: how each is started, and how a call of it looks."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.environments import programs, versions
from bench.live import BenchError
from infra.bench.identity import PROJECT
from infra.bench.load import Load

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
OURS = "Twohop's hop 1"
WORKER_SECRET = "bench" * 8
PYTHON = os.environ.get("BENCH_PYTHON", sys.executable)
"""The interpreter of every gate that is written in Python."""
_PEERS = HERE / "peers"
_JSON = {"content-type": "application/json"}
_CHAT = '{"model":"m","messages":[{"role":"user","content":"hello world"}]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a gate finds around it."""

    upstream: int
    """Port of the fixed answer, and of the sign-in's public keys."""
    redis: int
    folder: Path
    """For ledgers, keys, configurations and logs."""
    public_key: Path
    tokens: Sequence[str]

    def address(self, path: str) -> str:
        """Return an address of the upstream."""
        return f"http://127.0.0.1:{self.upstream}{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One gate."""

    name: str
    home: Callable[[Path], Path]
    """Makes its environment in a folder the first time; returns where its programs are."""
    command: Callable[[Path, int], Sequence[str]]
    """Takes its programs' folder and a port."""
    env: Callable[[Around, int], Mapping[str, str]]
    load: Callable[[Around, int], Load]
    telling: Sequence[str]
    """Packages whose versions are reported."""
    does: str
    """What it does of the gate's work."""
    versions: Callable[[Path, Sequence[str]], Mapping[str, str]] = field(
        default=lambda home, names: versions(home / "python", names)
    )


def python_programs(name: str, folder: Path, requirements: Path) -> Path:
    """Return where the programs of a gate in Python are, in an environment of `PYTHON`."""
    return programs(name, folder, requirements, python=PYTHON)


def make_gates() -> list[Gate]:
    """Return the gates: ours first."""
    return [hop1(), _portkey(), _litellm(), _tutorial()]


def hop1(**env: str) -> Gate:
    """Return hop 1 as it is deployed, but for the ledger and the public keys' address."""

    def environment(around: Around, port: int) -> Mapping[str, str]:
        return hop1_environment(around) | {"PORT": str(port)} | env

    return Gate(
        name=OURS,
        home=lambda folder: python_programs("hop1", folder, CHECKOUT / "functions" / "requirements.txt"),
        command=lambda home, _port: [
            *(str(home / "functions-framework"), "--target", "infer", "--host", "127.0.0.1"),
            *("--source", str(HERE / "entry.py")),
        ],
        env=environment,
        load=lambda around, port: Load(
            url=f"http://127.0.0.1:{port}/",
            body='{"data":{"inputs":"hello world"}}',
            headers=_JSON,
            tokens=around.tokens,
        ),
        telling=("functions-framework", "uvicorn", "httptools", "httpx", "msgspec", "PyJWT"),
        does="RS256, hold, call, settle; a durable ledger",
    )


def hop1_environment(around: Around) -> dict[str, str]:
    """Return hop 1's settings: a SQLite ledger, Firebase's sign-in, and a container at the fixed answer."""
    return {
        "GCLOUD_PROJECT": PROJECT,
        "LEDGER": "sqlite",
        "SQLITE_PATH": str(around.folder / "ledger.sqlite3"),
        "SIGN_IN": "firebase",
        "PROVIDER": "container",
        "CONTAINER_URL": around.address("/infer"),
        "WORKER_SECRET": WORKER_SECRET,
        "MODEL": "m",
        "HARDWARE": "own",
        "PRICE_NANODOLLARS_PER_SECOND": "190000",
        "BENCH_JWKS_URL": around.address("/jwks"),
        "BENCH_CERTIFICATES_URL": around.address("/certificates"),
        "PYTHONPATH": str(CHECKOUT / "functions"),
    }


def _portkey() -> Gate:
    return Gate(
        name="Portkey's gateway",
        home=_portkey_home,
        command=lambda home, port: [
            "node",
            str(home / "node_modules/@portkey-ai/gateway/build/start-server.js"),
            f"--port={port}",
            "--headless",
        ],
        # It calls no address of the own machine unless it is told to trust it.
        env=lambda _around, _port: {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"},
        load=lambda around, port: Load(
            url=f"http://127.0.0.1:{port}/v1/chat/completions",
            body=_CHAT,
            headers={
                **_JSON,
                "x-portkey-provider": "openai",
                "x-portkey-custom-host": around.address("/v1"),
                "authorization": "Bearer sk-bench",
            },
        ),
        telling=("@portkey-ai/gateway",),
        does="calls; verifies nobody, counts nothing",
        versions=lambda _home, _names: {"@portkey-ai/gateway": _pinned(), "node": _node_version()},
    )


def _litellm() -> Gate:
    def env(around: Around, _port: int) -> Mapping[str, str]:
        config = around.folder / "litellm.yaml"
        config.write_text(_LITELLM.format(api_base=around.address("/v1")), "utf-8")
        return {"CONFIG_FILE_PATH": str(config), "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

    return Gate(
        name="LiteLLM's proxy",
        home=lambda folder: python_programs("litellm", folder, _PEERS / "requirements-litellm.txt"),
        command=lambda home, port: [
            *(str(home / "litellm"), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"),
            *("--telemetry", "False"),
        ],
        env=env,
        load=lambda _around, port: Load(
            url=f"http://127.0.0.1:{port}/v1/chat/completions",
            body=_CHAT,
            headers={**_JSON, "authorization": "Bearer sk-bench"},
        ),
        telling=("litellm", "fastapi", "uvicorn", "uvloop"),
        does="compares one key, calls; counts nothing",
    )


_LITELLM = """model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "{api_base}", api_key: sk-upstream}}
general_settings: {{master_key: sk-bench}}
litellm_settings: {{telemetry: false}}
"""


def _tutorial() -> Gate:
    return Gate(
        name="FastAPI + JWT + slowapi + Redis",
        home=lambda folder: python_programs("tutorial", folder, _PEERS / "requirements-tutorial.txt"),
        command=lambda home, port: [
            *(str(home / "uvicorn"), "tutorial:app", "--host", "127.0.0.1", "--port", str(port)),
            *("--app-dir", str(_PEERS), "--no-access-log", "--log-level", "error"),
        ],
        env=lambda around, _port: {
            "PUBLIC_KEY": str(around.public_key),
            "PROJECT": PROJECT,
            "UPSTREAM": around.address("/infer"),
            "REDIS": f"redis://127.0.0.1:{around.redis}",
        },
        load=lambda around, port: Load(
            url=f"http://127.0.0.1:{port}/infer",
            body='{"inputs":"hello world"}',
            headers=_JSON,
            tokens=around.tokens,
        ),
        telling=("fastapi", "slowapi", "redis", "PyJWT", "httpx", "uvicorn", "uvloop"),
        does="RS256, one counter in Redis, call; keeps nothing of a call",
    )


def _portkey_home(folder: Path) -> Path:
    lock = _PEERS / "portkey" / "package-lock.json"
    home = folder / f"portkey-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if (home / "installed").exists():
        return home
    npm = shutil.which("npm")
    if npm is None:
        raise BenchError("npm is not installed, and Portkey's gateway is an npm package; install Node 20 or later")
    shutil.copytree(_PEERS / "portkey", home, dirs_exist_ok=True)
    command = [npm, "ci", "--ignore-scripts", "--prefix", str(home), "--no-audit", "--no-fund"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode:
        raise BenchError(f"Portkey's gateway could not be installed:\n{done.stderr[-800:]}")
    (home / "installed").touch()
    return home


def _pinned() -> str:
    import json

    lock = json.loads((_PEERS / "portkey" / "package-lock.json").read_text("utf-8"))
    return str(lock["packages"]["node_modules/@portkey-ai/gateway"]["version"])


def _node_version() -> str:
    return subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607 - whichever is first on the path is the one that serves


def say(line: str) -> None:
    """Tell whoever waits what happens."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
