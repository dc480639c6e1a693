"""Uses App Check tokens up at Google, which remembers them."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import Any

from gate.callers._admin import admin_app
from gate.errors import LedgerError, UnauthenticatedError


class FirebaseReplayGuard:
    """A `Consume` by the Admin SDK. One more call to Google for each request."""

    def __init__(self, *, project: str, timeout_seconds: float = 5) -> None:
        self._project = project
        self._timeout_seconds = timeout_seconds

    async def __call__(self, token: str) -> bool:
        """See `app_check.Consume`."""
        return await asyncio.to_thread(self._consume, token)

    def _consume(self, token: str) -> bool:
        from firebase_admin import app_check

        try:
            claims = app_check.verify_token(token, app=self._app, consume=True)
        except ValueError as exc:
            raise UnauthenticatedError("Google does not take the App Check token") from exc
        except Exception as exc:
            # The SDK lets errors of three other libraries through. Whatever it is, nobody knows; so refuse.
            raise LedgerError(f"the App Check token cannot be used up: {type(exc).__name__}") from exc
        return bool(claims["already_consumed"])

    @cached_property
    def _app(self) -> Any:
        return admin_app(self._project, timeout_seconds=self._timeout_seconds)
