"""The gate that tutorials teach: FastAPI, PyJWT, slowapi on Redis, httpx. One function, nothing kept of a call."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded

_KEY = Path(os.environ["PUBLIC_KEY"]).read_text("utf-8")
_PROJECT = os.environ["PROJECT"]
_UPSTREAM = os.environ["UPSTREAM"]


class Body(BaseModel):
    """What a caller sends."""

    inputs: str


def caller(request: Request) -> str:
    """Return who is asking."""
    _, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            _KEY,
            algorithms=["RS256"],
            audience=_PROJECT,
            issuer=f"https://securetoken.google.com/{_PROJECT}",
        )
    except jwt.PyJWTError as exc:
        raise HTTPException(status_code=401) from exc
    request.state.uid = claims["sub"]
    return str(claims["sub"])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client open."""
    async with httpx.AsyncClient() as client:
        app.state.client = client
        yield


limiter = Limiter(key_func=lambda request: request.state.uid, storage_uri=os.environ["REDIS"])
app = FastAPI(lifespan=lifespan)
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)


@app.post("/infer")
@limiter.limit("600000/minute")  # type: ignore[untyped-decorator]  # it is not installed beside mypy
async def infer(request: Request, body: Body, uid: str = Depends(caller)) -> Any:  # noqa: ARG001 - slowapi wants it
    """Verify, count, call, answer."""
    answer = await app.state.client.post(_UPSTREAM, json={"inputs": body.inputs}, headers={"x-user": uid})
    return answer.json()
