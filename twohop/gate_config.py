"""Reads and changes the document gate/config without undoing what somebody else changes in it at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gate.domain.plan import GateConfig
from gate.errors import LedgerError, PolicyError
from gate.ports import Documents
from gate.steps.policy import CONFIG_PATH
from twohop.documents import changed

_SWAP_TRIES = 10


async def read_config(documents: Documents) -> dict[str, Any]:
    """Return the document as it is stored, which may be malformed.

    Raises:
        PolicyError: there is none.
        LedgerError: it cannot be read.
    """
    document = await documents.read(CONFIG_PATH)
    if document is None:
        raise PolicyError(f"{CONFIG_PATH} does not exist; `twohop init` makes it")
    return document


async def change_config(
    documents: Documents, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Change some fields, and return the document before and after.

    Args:
        documents: where it is.
        change: is given the document, and returns the fields that become different. It may be asked again: the kill
            ladder writes the same document.

    Raises:
        BadInputError: the document would be malformed.
        PolicyError: there is none.
        LedgerError: it is not known to be changed.
    """
    for _ in range(_SWAP_TRIES):
        before = await read_config(documents)
        after = changed(GateConfig, before, change(before), CONFIG_PATH)
        if await documents.swap(CONFIG_PATH, old=before, new=after):
            return before, after
    raise LedgerError(f"{CONFIG_PATH} changed at each try to change it")
