"""The two questions that go to Google by the Admin SDK, asked of a double over real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from firebase_admin import app_check, auth

from gate.callers.accounts import Account, FirebaseAccounts
from gate.callers.replay import FirebaseReplayGuard
from gate.errors import LedgerError, UnauthenticatedError


class IdentityToolkit:
    """The one method of Google's accounts API that is asked for."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self.status = 200
        self.asked: list[str] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                double.asked.append(self.path)
                found = [double.users[uid] for uid in asked["localId"] if uid in double.users]
                body = json.dumps({"users": found} if found else {}).encode()
                self.send_response(double.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[IdentityToolkit]:
    double = IdentityToolkit()
    thread = threading.Thread(target=double.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", f"127.0.0.1:{double.server.server_port}")
    yield double
    double.server.shutdown()
    double.server.server_close()
    thread.join()


@pytest.fixture
def accounts(request: pytest.FixtureRequest) -> FirebaseAccounts:
    # The SDK keeps one client for each app and project, and with it the emulator's address of the first test.
    return FirebaseAccounts(project=f"demo-{abs(hash(request.node.name))}", timeout_seconds=2)


async def test_an_account_is_looked_up(google: IdentityToolkit, accounts: FirebaseAccounts) -> None:
    google.users["alice"] = {"localId": "alice", "validSince": "1700000000", "disabled": True}

    assert await accounts("alice") == Account(disabled=True, tokens_valid_after_ms=1_700_000_000_000)
    assert google.asked[0].endswith("/accounts:lookup")


async def test_an_account_that_was_never_revoked_has_no_such_time(
    google: IdentityToolkit, accounts: FirebaseAccounts
) -> None:
    google.users["bob"] = {"localId": "bob"}

    assert await accounts("bob") == Account(disabled=False, tokens_valid_after_ms=0)


async def test_an_unknown_account_is_none(google: IdentityToolkit, accounts: FirebaseAccounts) -> None:
    assert await accounts("nobody") is None


async def test_google_out_of_order_is_a_refusal(google: IdentityToolkit, accounts: FirebaseAccounts) -> None:
    google.status = 400

    with pytest.raises(LedgerError):
        await accounts("alice")


async def test_no_credentials_are_a_refusal(accounts: FirebaseAccounts, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_credentials(*_: object, **__: object) -> None:
        raise RuntimeError("your default credentials were not found at a path of this machine")

    monkeypatch.setattr(auth, "get_user", no_credentials)

    with pytest.raises(LedgerError) as caught:
        await accounts("alice")
    assert "path" not in str(caught.value)


@pytest.mark.parametrize("consumed", [True, False])
async def test_a_token_is_used_up_at_google(consumed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def verify(token: str, app: Any, consume: bool) -> dict[str, Any]:
        seen.update(token=token, project=app.project_id, consume=consume)
        return {"already_consumed": consumed}

    monkeypatch.setattr(app_check, "verify_token", verify)

    assert await FirebaseReplayGuard(project="demo-replay")("the-token") is consumed
    assert seen == {"token": "the-token", "project": "demo-replay", "consume": True}


@pytest.mark.parametrize(("raised", "expected"), [(ValueError, UnauthenticatedError), (OSError, LedgerError)])
async def test_a_token_that_is_not_used_up_lets_nobody_in(
    raised: type[Exception], expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised("the-token")

    monkeypatch.setattr(app_check, "verify_token", fail)

    with pytest.raises(expected) as caught:
        await FirebaseReplayGuard(project="demo-replay")("the-token")
    assert "the-token" not in str(caught.value)


def test_the_admin_sdk_is_not_loaded_before_it_is_asked() -> None:
    """It costs a cold start a quarter of a second."""
    modules = ("accounts", "app_check", "dev", "emulator", "firebase", "keys", "replay")
    code = "".join(f"import gate.callers.{name};" for name in modules)
    code += "import sys; sys.exit('firebase_admin' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
