"""Whether an account still stands: the one question about a caller that only Firebase itself can answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any

import msgspec

from gate.callers._admin import admin_app
from gate.errors import LedgerError


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What Firebase says of an account right now."""

    disabled: bool
    tokens_valid_after_ms: int
    """Sign-ins before this are revoked; in milliseconds since 1970 UTC."""


AccountLookup = Callable[[str], Awaitable[Account | None]]
"""Returns an account by its uid, or None if there is none. Raises LedgerError if it cannot be told."""


class FirebaseAccounts:
    """An `AccountLookup` by the Admin SDK, which also knows how to ask the Auth emulator."""

    def __init__(self, *, project: str, timeout_seconds: float = 5) -> None:
        self._project = project
        self._timeout_seconds = timeout_seconds

    async def __call__(self, uid: str) -> Account | None:
        """See `AccountLookup`."""
        return await asyncio.to_thread(self._look_up, uid)

    def _look_up(self, uid: str) -> Account | None:
        from firebase_admin import auth

        try:
            user = auth.get_user(uid, app=self._app)
        except auth.UserNotFoundError:
            return None
        except Exception as exc:
            # The SDK lets errors of three other libraries through. Whatever it is, nobody knows; so refuse.
            raise LedgerError(f"the account cannot be looked up: {type(exc).__name__}") from exc
        return Account(disabled=user.disabled, tokens_valid_after_ms=user.tokens_valid_after_timestamp or 0)

    @cached_property
    def _app(self) -> Any:
        return admin_app(self._project, timeout_seconds=self._timeout_seconds)
