"""A client as a script would be: plain HTTP, a token, the callable protocol."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

_TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back: a result, or an error by its status, message and details."""

    status: int
    result: dict[str, Any]
    error: dict[str, Any]

    @property
    def code(self) -> str:
        """The error's canonical status, or OK."""
        return str(self.error.get("status", "OK"))


class DemoClient:
    """Calls the callables of a hop 1 on this machine."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_SECONDS)

    async def __aenter__(self) -> DemoClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def sign_in(self, uid: str) -> str:
        """Return a token of the dev sign-in."""
        response = await self._http.post("/dev/token", json={"uid": uid})
        return str(response.raise_for_status().json()["token"])

    async def call(self, name: str, token: str | None, data: Any) -> Reply:
        """Call a callable as `httpsCallable(functions, name)(data)` does."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        response = await self._http.post(f"/demo-twohop/us-central1/{name}", json={"data": data}, headers=headers)
        answer = response.json()
        return Reply(status=response.status_code, result=answer.get("result") or {}, error=answer.get("error") or {})
