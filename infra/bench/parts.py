"""What stands around every gate that is measured: nginx with a fixed answer, Redis for those that need it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.live import BenchError, base_environment
from bench.processes import running
from infra.bench.identity import SignIn
from twohop.loopback import free_port

PACKAGES = {"nginx": "nginx-light", "redis-server": "redis-server", "wrk": "wrk", "taskset": "util-linux"}
"""Programs, and the Debian packages that bring them."""
_READY_SECONDS_MAX = 15.0
_ANSWER = (
    '{"outputs":[0.0123,0.0456,0.0789],"usage":{"execution_ms":20,"start_ms":0,"tokens":7},'
    '"id":"c1","object":"chat.completion","created":1700000000,"model":"m",'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}'
)
"""An answer of Twohop's worker and of a chat model in one, so that each gate reads the same bytes."""
_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    default_type application/json;
    location = /certificates {{ root {folder}; add_header cache-control max-age=3600; }}
    location = /jwks {{ root {folder}; add_header cache-control max-age=3600; }}
    location / {{ return 200 '{answer}'; }}
  }}
}}
"""


def install() -> None:
    """Install what is missing, which takes root and Debian's packages.

    Raises:
        BenchError: it cannot be installed here; the message says what to install.
    """
    missing = sorted({package for program, package in PACKAGES.items() if shutil.which(program) is None})
    if not missing:
        return
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise BenchError(f"install these first: {' '.join(missing)} (Debian: apt-get install {' '.join(missing)})")
    sys.stdout.write(f"installing {' '.join(missing)}\n")
    command = [apt, "install", "--yes", "--no-install-recommends", *missing]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise BenchError(f"could not be installed: {' '.join(command)}")


@contextmanager
def upstream(folder: Path, *, sign_in: SignIn, core: int | None) -> Iterator[int]:
    """Serve the fixed answer and the sign-in's public keys; give the port."""
    port = free_port()
    # nginx's workers give up root's rights, and must get at their folder all the same.
    with TemporaryDirectory(prefix="twohop-bench-") as made:
        place = Path(made)
        place.chmod(0o755)
        (place / "certificates").write_text(sign_in.certificates(), "utf-8")
        (place / "jwks").write_text(sign_in.key_set(), "utf-8")
        config = place / "nginx.conf"
        config.write_text(_NGINX.format(folder=place, port=port, answer=_ANSWER), "utf-8")
        command = ["nginx", "-e", "stderr", "-c", str(config)]
        with running(command, env=base_environment(), log_path=folder / "nginx.log", core=core):
            _wait(port, "nginx")
            yield port


@contextmanager
def redis(folder: Path, *, core: int | None) -> Iterator[int]:
    """Run a Redis that keeps nothing on disk; give the port."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running(command, env=base_environment(), log_path=folder / "redis.log", core=core):
        _wait(port, "redis-server")
        yield port


def _wait(port: int, name: str) -> None:
    import socket

    deadline = time.monotonic() + _READY_SECONDS_MAX
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise BenchError(f"{name} does not listen on its port")
