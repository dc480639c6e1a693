"""One instance of hop 1 as a process of its own: the doors of `make dev` over the ledger that the environment names.

Its provider answers at once. It writes its address when it listens.
"""

from __future__ import annotations

import asyncio
import os
import sys
from unittest.mock import patch

from gate import parts
from gate.bootstrap import make_hop1
from gate.callers.dev import DevSignIn
from gate.providers.scripted import ScriptedProvider
from gate.settings import Settings
from tests.api.world import answer_like_the_worker, listening
from twohop.dev.app import make_app


async def serve() -> None:
    settings = Settings.from_env(os.environ)
    with patch.object(parts, "open_provider", lambda *_, **__: ScriptedProvider(otherwise=answer_like_the_worker)):
        hop1 = make_hop1(settings)
    sign_in = DevSignIn(secret=settings.dev_sign_in_secret.reveal(), clock=hop1.clock, deployed=False)
    async with listening(make_app(hop1, sign_in, project="demo")) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
