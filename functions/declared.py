"""What firebase-tools is told of an endpoint. Imported for discovery alone: serving calls needs nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from firebase_functions import https_fn, pubsub_fn, scheduler_fn
from firebase_functions.options import MemoryOption
from firebase_functions.params import SecretParam

_WORDS = ("__firebase_endpoint__", "__required_apis")
"""Where firebase-functions leaves what it declares."""
_secrets: dict[str, SecretParam] = {}


def declare(handler: Callable[..., Any], **options: Any) -> None:
    """Declare an endpoint with the options of `https_fn.on_request`, or of a schedule or a topic if they name one.

    Args:
        handler: carries the declaration afterwards.
        options: as those decorators take them, but the secrets are names and the memory is MiB.
    """
    given = {
        **options,
        "secrets": [_secret(name) for name in options["secrets"]],
        "memory": MemoryOption(options["memory"]),
    }
    declaration = _decorator(options)(**given)(handler)
    for name in _WORDS:
        if hasattr(declaration, name):
            setattr(handler, name, getattr(declaration, name))


def _decorator(options: Mapping[str, Any]) -> Any:
    if "schedule" in options:
        return scheduler_fn.on_schedule
    return pubsub_fn.on_message_published if "topic" in options else https_fn.on_request


def _secret(name: str) -> SecretParam:
    """Return the parameter of a secret; a second one of the same name would be declared twice."""
    if name not in _secrets:
        _secrets[name] = SecretParam(name)
    return _secrets[name]
