"""A real browser for tests: headless Chromium, on a page that says by itself what it saw."""

from __future__ import annotations

import functools
import json
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from infra.suite_parts import NODE_MODULES
from tests.missing import missing

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """Return the path of Chromium, or skip the test."""
    path = next((path for name in _NAMES if (path := shutil.which(name))), None)
    return path or missing("Chromium", "install Debian's package chromium, or Google Chrome")


def saw(page: str, *, seconds_max: float = 60, modules: Path = NODE_MODULES) -> Any:
    """Open a page in Chromium and return what it posts to `/saw`, as JSON.

    Args:
        page: as `page_with` makes it.
        seconds_max: how long that may take.
        modules: the packages that it imports. Firebase's JS SDK is found where it would be on Google's servers, too.
    """
    path = chromium()
    if not (NODE_MODULES / "firebase").exists():
        missing("the Firebase JS SDK", "run `npm ci --ignore-scripts --prefix tests/js`")
    # Processes of a browser that is ended write into its profile for a moment more.
    with _served(page, modules) as (url, told), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        command = [path, *flags, f"--user-data-dir={profile}", url]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                return told.get(timeout=seconds_max)
            finally:
                process.terminate()


@contextmanager
def _served(page: str, modules: Path) -> Iterator[tuple[str, queue.Queue[Any]]]:
    told: queue.Queue[Any] = queue.Queue()
    handler = functools.partial(_Pages, page.encode(), told, directory=str(modules))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", told
        server.shutdown()


class _Pages(SimpleHTTPRequestHandler):
    """Serves the page, the SDK beside it, and takes what the page saw."""

    def __init__(self, page: bytes, told: queue.Queue[Any], *args: Any, **options: Any) -> None:
        self._page = page
        self._told = told
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self._page)

    def do_POST(self) -> None:
        self._told.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing of each request."""


def page_with(script: str, **values: Any) -> str:
    """Return a page around a module script. `config` holds the values, and `saw(what)` ends the test."""
    template = Path(__file__).parent / "js" / "page.html"
    filled = template.read_text("utf-8").replace("{{config}}", json.dumps(values))
    return filled.replace("{{script}}", script)
