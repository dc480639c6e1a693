"""The door that providers call when a job has ended. It believes nothing but that it is worth a look.

`POST ?job=…&proof=…`. Whatever else is sent is not read. 200 means that the ledger knows how the job ended; 503 asks
to be told again, which RunPod does twice; 404 is for everybody who does not know the address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gate.errors import GateError
from gate.log import EventLog
from gate.steps.webhooks import Webhooks

Ended = Callable[[str], Awaitable[bool]]
"""Looks after a job by its id, and returns whether it has ended."""


class WebhookDoor:
    """An ASGI app for one kind of message."""

    def __init__(self, ended: Ended, *, webhooks: Webhooks, log: EventLog) -> None:
        self._ended = ended
        self._webhooks = webhooks
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        status = await self._status(Request(scope, receive))
        await Response(status_code=status, headers={"cache-control": "no-store"})(scope, receive, send)

    async def _status(self, request: Request) -> int:
        job_id, proof = request.query_params.get("job", ""), request.query_params.get("proof", "")
        if request.method != "POST" or not self._webhooks.proves(job_id, proof):
            return 404
        try:
            return 200 if await self._ended(job_id) else 503
        except GateError as exc:
            self._log.warning("webhook.failed", job_id=job_id, error=type(exc).__name__, reason=str(exc))
            return 503
