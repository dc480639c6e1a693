"""The Admin SDK's app for what only Google's servers can answer. Nothing here is imported before it is asked for."""

from __future__ import annotations

from threading import Lock
from typing import Any

_lock = Lock()


def admin_app(project: str, *, timeout_seconds: float) -> Any:
    """Return this process's app for a project; the first call makes it. Safe to call from any thread."""
    import firebase_admin

    name = f"twohop/{project}"
    with _lock:
        try:
            return firebase_admin.get_app(name)
        except ValueError:
            # The one way to ask the SDK whether an app exists.
            options = {"projectId": project, "httpTimeout": timeout_seconds}
            return firebase_admin.initialize_app(options=options, name=name)
