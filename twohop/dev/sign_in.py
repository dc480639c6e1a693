"""The dev sign-in's doors: tokens for curl, and enough of Firebase Auth's REST API for the unmodified Firebase SDKs.

`connectAuthEmulator(auth, "http://127.0.0.1:8787")` makes the SDK ask here; the paths and shapes are those of the
Identity Toolkit and Secure Token APIs. Anybody may be anybody: this exists on a developer's own machine only.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gate.callers.dev import DevSignIn
from gate.domain.plan import Cohort
from gate.endpoints.answers import error_json
from gate.errors import GateError, InvalidRequestError
from gate.ports import Caller, Credentials

_TOKEN_SECONDS = 3600
_REFRESH_SECONDS = 30 * 24 * 3600
_ACCOUNTS = "/identitytoolkit.googleapis.com/v1/accounts"

_Handler = Callable[[Request], Awaitable[dict[str, Any]]]


class _TokenRequest(msgspec.Struct, forbid_unknown_fields=True):
    uid: str


class SignInRoutes:
    """Routes that mint and renew tokens of the dev sign-in."""

    def __init__(self, sign_in: DevSignIn) -> None:
        self._sign_in = sign_in

    def routes(self) -> list[Route]:
        """Return the routes for the dev server."""
        handlers: dict[str, _Handler] = {
            "/dev/token": self._token,
            f"{_ACCOUNTS}:signUp": self._sign_up,
            f"{_ACCOUNTS}:signInWithCustomToken": self._custom_token,
            f"{_ACCOUNTS}:lookup": self._lookup,
            "/securetoken.googleapis.com/v1/token": self._refresh,
        }
        return [Route(path, _answering(handler), methods=["POST"]) for path, handler in handlers.items()]

    async def _token(self, request: Request) -> dict[str, Any]:
        """`POST /dev/token {"uid": "alice"}`: sign in as anybody."""
        try:
            wanted = msgspec.json.decode(await request.body(), type=_TokenRequest)
        except msgspec.DecodeError as exc:
            raise InvalidRequestError(f'send {{"uid": "alice"}}: {exc}') from exc
        return {"token": self._sign_in.mint(wanted.uid, lifetime_seconds=_TOKEN_SECONDS)}

    async def _sign_up(self, _: Request) -> dict[str, Any]:
        """`signInAnonymously(auth)`."""
        return self._session(Caller(uid=f"anonymous-{secrets.token_hex(6)}", cohort=Cohort.ANONYMOUS))

    async def _custom_token(self, request: Request) -> dict[str, Any]:
        """`signInWithCustomToken(auth, token)` with a token of `/dev/token`."""
        return self._session(await self._caller((await request.json()).get("token")))

    async def _lookup(self, request: Request) -> dict[str, Any]:
        caller = await self._caller((await request.json()).get("idToken"))
        return {"users": [{"localId": caller.uid}]}

    async def _refresh(self, request: Request) -> dict[str, Any]:
        form = await request.form()
        session = self._session(await self._caller(form.get("refresh_token")))
        return {
            "id_token": session["idToken"],
            "access_token": session["idToken"],
            "refresh_token": session["refreshToken"],
            "expires_in": session["expiresIn"],
            "token_type": "Bearer",
            "user_id": session["localId"],
        }

    async def _caller(self, token: Any) -> Caller:
        return await self._sign_in.verify(Credentials(bearer=token if isinstance(token, str) else None))

    def _session(self, caller: Caller) -> dict[str, Any]:
        anonymous = caller.cohort is Cohort.ANONYMOUS
        return {
            "idToken": self._sign_in.mint(caller.uid, anonymous=anonymous, lifetime_seconds=_TOKEN_SECONDS),
            "refreshToken": self._sign_in.mint(caller.uid, anonymous=anonymous, lifetime_seconds=_REFRESH_SECONDS),
            "expiresIn": str(_TOKEN_SECONDS),
            "localId": caller.uid,
        }


def _answering(handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
    """Turn a handler of JSON into one of responses, with the gate's errors in the gate's shape."""

    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(await handler(request))
        except GateError as exc:
            return JSONResponse(error_json(exc), status_code=exc.http_status)
        except (ValueError, AttributeError, RecursionError):
            return JSONResponse(error_json(InvalidRequestError("The request is not a JSON object")), status_code=400)

    return answer
