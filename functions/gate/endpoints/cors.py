"""Which web pages and browser plugins may call: an allow-list of origins, asked before anything else happens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gate.errors import ForbiddenError, SettingsError

_ORIGIN = re.compile(r"^(https?://[^/\s*]+|[a-z]+-extension://[^/\s*]+)$")
LOOPBACK_ORIGIN = r"^http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$"
"""Pages of the developer's own machine."""
_HEADERS = (
    "authorization",
    "content-type",
    "firebase-instance-id-token",
    "x-firebase-appcheck",
    "x-firebase-client",
)
_PREFLIGHT_SECONDS = 3600
_ORIGIN_CHARS_MAX = 200
"""Of a refused origin in the log: anybody may send 60 kB of it, and the log is billed."""


class Origins:
    """The origins that may call from a browser. Callers that are no browser send none, and are not concerned."""

    def __init__(self, allowed: Iterable[str], *, allow_loopback: bool) -> None:
        self._allowed = tuple(allowed)
        self._loopback = re.compile(LOOPBACK_ORIGIN) if allow_loopback else None
        for origin in self._allowed:
            if not _ORIGIN.match(origin):
                raise SettingsError(
                    f"ALLOWED_ORIGINS holds {origin!r}, which is no origin; write https://app.example.com or "
                    "chrome-extension://ID, several with commas between them"
                )

    def check(self, headers: Mapping[str, str]) -> None:
        """Refuse a browser's request from elsewhere.

        Raises:
            ForbiddenError: the origin is not on the list.
        """
        origin = headers.get("origin")
        if origin is None or origin in self._allowed or (self._loopback and self._loopback.match(origin)):
            return
        raise ForbiddenError(
            f"origin {origin[:_ORIGIN_CHARS_MAX]!r} is not in ALLOWED_ORIGINS",
            public_message="This web page or plugin may not call the service: its origin is not on the list.",
        )

    def around(
        self,
        app: ASGIApp,
        *,
        methods: Iterable[str] = ("POST",),
        headers: Iterable[str] = (),
        exposed: Iterable[str] = (),
    ) -> ASGIApp:
        """Return the app with preflight requests answered and the browser's headers set.

        Args:
            app: what answers the others.
            methods: that it takes.
            headers: that it takes beside those of a callable.
            exposed: headers of its answers that a page may read, beside `retry-after`.
        """
        around = CORSMiddleware(
            app,
            allow_origins=self._allowed,
            allow_origin_regex=self._loopback.pattern if self._loopback else None,
            allow_methods=tuple(methods),
            allow_headers=(*_HEADERS, *headers),
            expose_headers=("retry-after", *exposed),
            max_age=_PREFLIGHT_SECONDS,
        )

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            from_browser = any(name == b"origin" for name, _ in scope["headers"])
            await (around if from_browser else app)(scope, receive, send)

        return serve
