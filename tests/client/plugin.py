"""A Manifest V3 plugin in real Chromium, whose service worker a test can end."""

from __future__ import annotations

import hashlib
import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

from infra.suite_parts import NODE_MODULES, ROOT
from tests.browser import chromium
from tests.dev.killing import until

_GSTATIC = "https://www.gstatic.com/firebasejs/12.19.0/"
_SDK = {
    "firebase/app": "firebase-app.js",
    "firebase/auth/web-extension": "firebase-auth-web-extension.js",
    "firebase/functions": "firebase-functions.js",
    "firebase/firestore": "firebase-firestore.js",
}
"""What a plugin imports, and the files of Firebase's npm package that need no bundler."""


class Plugin:
    """A browser with the plugin in it."""

    def __init__(self, folder: Path, port: int) -> None:
        self._devtools = port
        self._address = f"chrome-extension://{plugin_id(folder)}"

    def opens_its_page(self) -> None:
        """Open the plugin's page in a tab, once the plugin is there."""
        assert until(lambda: bool(self._workers())), "the plugin was not loaded"
        self._ask("Target.createTarget", url=f"{self._address}/page.html")

    def ends_its_worker(self) -> bool:
        """End the service worker as the browser does, and say whether there was one."""
        found = self._workers()
        for target in found:
            self._ask("Target.closeTarget", targetId=target)
        return bool(found)

    def _workers(self) -> list[str]:
        targets = self._ask("Target.getTargets")["targetInfos"]
        return [one["targetId"] for one in targets if one["url"] == f"{self._address}/worker.js"]

    def _ask(self, method: str, **parameters: Any) -> Any:
        """Ask the browser something by its DevTools protocol."""
        version = httpx.get(f"http://127.0.0.1:{self._devtools}/json/version").json()
        with connect(version["webSocketDebuggerUrl"]) as browser:
            browser.send(json.dumps({"id": 1, "method": method, "params": parameters}))
            while (answer := json.loads(browser.recv(timeout=10))).get("id") != 1:
                pass
        return answer["result"]


def plugin_id(folder: Path) -> str:
    """Return the id that Chromium gives an unpacked plugin: a hash of its path, in the letters a to p."""
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:32]
    return digest.translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))


def put_together(folder: Path, client: Path, **config: Any) -> None:
    """Put the plugin's files, the SDK and twohop-client into a folder, as a bundler would."""
    shutil.copytree(ROOT / "tests" / "js" / "plugin", folder, dirs_exist_ok=True)
    shutil.copytree(client / "src", folder / "twohop-client")
    for name in _SDK.values():
        text = (NODE_MODULES / "firebase" / name).read_text("utf-8")
        (folder / name).write_text(text.replace(_GSTATIC, "./"), "utf-8")
    for script in [*folder.glob("*.js"), *(folder / "twohop-client").glob("*.js")]:
        if script.name in _SDK.values():
            continue
        text = script.read_text("utf-8").replace('"twohop-client"', '"/twohop-client/index.js"')
        for name, file in _SDK.items():
            text = text.replace(f'"{name}"', f'"/{file}"')
        script.write_text(text, "utf-8")
    lines = [f"export const {name} = {json.dumps(value)};\n" for name, value in config.items()]
    (folder / "config.js").write_text("".join(lines), "utf-8")


@contextmanager
def opened(folder: Path, profile: Path) -> Iterator[Plugin]:
    """Open Chromium with a plugin in it."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    ours = [f"--user-data-dir={profile}", "--remote-debugging-port=0", f"--load-extension={folder}"]
    command = [chromium(), *flags, *ours, "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            told = profile / "DevToolsActivePort"
            assert until(lambda: told.exists() and bool(told.read_text().strip())), "Chromium did not start"
            yield Plugin(folder, int(told.read_text().split()[0]))
        finally:
            process.terminate()


@contextmanager
def listening() -> Iterator[tuple[str, queue.Queue[Any]]]:
    """Take what the page posts; yields its address, and what came."""
    came: queue.Queue[Any] = queue.Queue()

    class Ear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing of each request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Ear) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/saw", came
        server.shutdown()
