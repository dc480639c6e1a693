"""`make emulate`: the whole of Twohop on this machine, as in production but for the cloud, until Ctrl-C.

Hop 1 runs in the official Firebase emulators and hop 2 is the real worker on this machine's CPU.
"""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType
from typing import NoReturn

from infra import suite
from infra.suite import HOST, PROJECT, Ports, Suite
from infra.suite_parts import MissingPartError
from infra.suite_process import SuiteError


def main() -> int:
    """Run the suite in the foreground, and return the command's exit status."""
    for each in (signal.SIGINT, signal.SIGTERM):  # said aloud: a shell's background jobs begin with SIGINT ignored
        signal.signal(each, _interrupt)
    _say("Starting the Firebase emulators and the worker; the first time takes a minute or two.")
    try:
        with suite.running(Ports(), hosting=True) as running:
            suite.write_starter_documents(running)
            _say(_welcome(running))
            _follow(running)
    except KeyboardInterrupt:
        _say("\nStopped; nothing is left running.")
        return 0
    except (MissingPartError, SuiteError) as exc:
        _say(str(exc))
        return 1


def _welcome(running: Suite) -> str:
    ports = running.ports
    sign_up = f"http://{HOST}:{ports.auth}/identitytoolkit.googleapis.com/v1/accounts:signUp?key=any"
    return f"""
Twohop runs here, as the Firebase project {PROJECT}:

  the web pages        http://{HOST}:{ports.hosting}
  hop 1's callables    {running.callable_url("infer")}   (and quota, tokens, submit, job, cancel)
  its HTTP routes      http://{HOST}:{ports.hosting}/v1   and /models, /openapi.json
  sign-in              http://{HOST}:{ports.auth}
  Firestore            http://{HOST}:{ports.firestore}
  the worker           http://{HOST}:{ports.worker}

Try it from a shell: sign in as an anonymous visitor, then ask for embeddings until the plan says stop (after three).

  TOKEN=$(curl -s -X POST '{sign_up}' -H 'Content-Type: application/json' -d '{{}}' \\
    | {sys.executable} -c 'import json, sys; print(json.load(sys.stdin)["idToken"])')
  curl -s {running.callable_url("infer")} -H "Authorization: Bearer $TOKEN" \\
    -H 'Content-Type: application/json' -d '{{"data": {{"inputs": ["one text", "another text"]}}}}' | tail -c 900

Or point any Firebase SDK at it with connectAuthEmulator and connectFunctionsEmulator.
An edit in functions/ is live at once. Ctrl-C stops everything. What the functions say follows.
"""


def _follow(running: Suite) -> NoReturn:
    """Show the log as it grows, until somebody interrupts."""
    with running.log.open(errors="replace") as log:
        log.seek(0, 2)
        while True:
            line = log.readline()
            if line:
                sys.stdout.write(line)
                sys.stdout.flush()
            else:
                time.sleep(0.2)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
