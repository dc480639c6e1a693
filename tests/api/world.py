"""The HTTP routes on a SQLite ledger and a provider that answers as Twohop's worker would, in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from gate.callers.api_tokens import ApiTokenVerifier, LiveTokenVerifier
from gate.domain.api_token import TokenSigner
from gate.endpoints.api.table import make_api
from gate.endpoints.callables import make_callables
from gate.endpoints.cors import Origins
from gate.endpoints.entrance import Entrance
from gate.errors import UnauthenticatedError
from gate.ports import Caller, Credentials
from gate.provider import Order, Part, ProviderUsage
from gate.providers.scripted import Act, ScriptedProvider
from gate.steps.pacing import Pace
from gate.tokens import Tokens
from gate.wire import WorkBody
from tests.gate.doubles import BelievingVerifier, WatchedLedger, fill
from tests.gate.world import ALICE, World
from tests.makers import make_documents, make_plan
from twohop.loopback import free_port

MODEL = "all-minilm-l6-v2"
APP = "https://app.example.com"
TEXT = "Once upon a time"
TOKENS = 7


class OnlyAlice(BelievingVerifier):
    """A sign-in that knows one user."""

    async def verify(self, credentials: Credentials) -> Caller:
        if credentials.bearer != "alice":
            raise UnauthenticatedError("not alice")
        return await super().verify(credentials)


class ApiWorld(World):
    """Everything behind the routes, and a client in front of them."""

    def __init__(self, ledger: WatchedLedger, *, allow_loopback: bool = False, **model: Any) -> None:
        super().__init__(ledger)
        self.scripted = ScriptedProvider(otherwise=answer_like_the_worker)
        signer = TokenSigner(project="demo-project", secrets=[b"s" * 32])
        self.pace = Pace(clock=self.clock)
        self.gate = gate = self.another_gate(provider=self.scripted, **model)
        self.tokens = Tokens(
            policies=self.policies, documents=ledger, signer=signer, clock=self.clock, pace=self.pace
        )
        verifier = ApiTokenVerifier(OnlyAlice(), signer=signer, clock=self.clock)
        live = LiveTokenVerifier(verifier, tokens=self.tokens, pace=self.pace)
        origins = Origins((APP,), allow_loopback=allow_loopback)
        entrance = Entrance(verifier=verifier, live_verifier=live, origins=origins, log=self.log)
        self.api = make_api(gate, entrance, clock=self.clock, callables_url="/")
        callables = make_callables(gate, self.tokens, entrance, clock=self.clock)
        names = ("infer", "submit", "job", "cancel", "quota", "tokens")
        self._callables: dict[str, ASGIApp] = {f"/{name}": getattr(callables, name) for name in names}
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self),
            base_url="http://hop1",
            headers={"authorization": "Bearer alice"},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the callables by their names, and the HTTP routes."""
        await self._callables.get(scope["path"], self.api)(scope, receive, send)

    async def plan(self, **limits: Any) -> None:
        """Give everybody a plan with these limits."""
        await fill(self.ledger, make_documents(make_plan(**limits)))
        self.clock.advance(seconds=11)  # what was read before is used no longer than ten

    async def token(self, **fields: Any) -> str:
        text, _ = await self.tokens.create(ALICE, **{"label": "script", "lifetime": "day", **fields})
        return text

    async def requests(self) -> int:
        """Return how many requests are counted on alice."""
        return (await self.ledger.counters("usage/alice")).get(("days", "2026-11-21", "requests"), 0)

    def sent(self) -> WorkBody:
        """Return what the worker was sent last."""
        return WorkBody.decode(self.scripted.orders[-1].body)


@asynccontextmanager
async def api_world(folder: Path, **model: Any) -> AsyncIterator[ApiWorld]:
    ledger = WatchedLedger(str(folder / "ledger"))
    await fill(ledger, make_documents())
    world = ApiWorld(ledger, **model)
    yield world
    await world.http.aclose()
    await world.scripted.close()
    await ledger.close()


def answer_like_the_worker(order: Order) -> Act:
    """Embed what is to be normalized, continue what has a number of new tokens, and label the rest."""
    body = WorkBody.decode(order.body)
    usage = ProviderUsage(execution_ms=100, tokens=TOKENS)
    if "normalize" in body.parameters:
        return Act(outputs=[[0.6, 0.8, 0.0]] * len(body.inputs), usage=usage)
    if "return_full_text" in body.parameters:
        text = (body.inputs if body.parameters["return_full_text"] else "") + TEXT
        row = [{"generated_text": text, "details": generation_details()}]
        several = isinstance(body.inputs, list) and isinstance(body.inputs[0], str)
        parts = (Part(text=text[:5]), Part(text=text[5:])) if body.stream else ()
        return Act(outputs=[row] * len(body.inputs) if several else row, usage=usage, parts=parts)
    return Act(outputs=[{"label": "POSITIVE", "score": 0.9}, {"label": "NEGATIVE", "score": 0.1}], usage=usage)


def generation_details(reason: str = "length") -> dict[str, Any]:
    return {"finish_reason": reason, "generated_tokens": 4, "prompt_tokens": 3}


class Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        super().__init__(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@asynccontextmanager
async def listening(app: ASGIApp, port: int | None = None) -> AsyncIterator[str]:
    """Serve an app on a port of this machine, in this event loop, and give its address."""
    server = Server(app, port or free_port())
    serving = asyncio.create_task(server.serve())
    await server.ready.wait()
    yield f"http://127.0.0.1:{server.config.port}"
    server.should_exit = True
    await serving
