"""What an API token may be used for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

USAGE = "usage"
"""To read what is used and left. Every token may; one with no other scope may nothing else."""
MODELS = "models"
"""To use every model of the owner's plan."""
MODEL = "model:"
"""To use one model: what follows is its name."""

Scope = Annotated[str, Meta(pattern=r"^(usage|models|model:[A-Za-z0-9][A-Za-z0-9_.\-]{0,95})$", max_length=102)]
Scopes = Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=16)]


def models_of(scopes: Iterable[str]) -> tuple[str, ...]:
    """Return the models that scopes open, by name; `*` is all of them."""
    given = tuple(scopes)
    if MODELS in given:
        return ("*",)
    return tuple(scope.removeprefix(MODEL).lower() for scope in given if scope.startswith(MODEL))
