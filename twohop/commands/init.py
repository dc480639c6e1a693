"""`twohop init`: the first plans and the first budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import msgspec

from gate.domain.plan import STARTER_CONFIG, STARTER_PLANS, GateConfig, Plan
from gate.ports import Documents
from gate.steps.policy import CONFIG_PATH
from twohop.documents import as_document, problems
from twohop.session import Session
from twohop.show import hint, show, warn

_STARTERS: dict[str, msgspec.Struct] = {
    **{f"plans/{name}": plan for name, plan in STARTER_PLANS.items()},
    CONFIG_PATH: STARTER_CONFIG,
}


async def write_starters(documents: Documents) -> dict[str, dict[str, Any] | None]:
    """Write each starter document that is not there, and return what stood there before, by path.

    Doing it again changes nothing, and so does a document that is malformed: it may be worth repairing.
    """
    found = {path: await documents.read(path) for path in _STARTERS}
    for path, before in found.items():
        if before is None:
            await documents.write(path, as_document(_STARTERS[path]))
    return found


@click.command()
@click.pass_obj
def init(session: Session) -> None:
    """Write the first plans and the first budget, where there are none.

    What is there already is left as it is, so this may be run at any time.
    """
    found = session.run(write_starters, may_create=True)
    width = max(len(path) for path in found)
    for path, before in found.items():
        show(f"{path:<{width}}  {'written' if before is None else 'kept as it is'}")
    for path, before in found.items():
        _warn_if_malformed(path, before)
    hint("next: `twohop plan list`, `twohop budget show`")


def _warn_if_malformed(path: str, before: Mapping[str, Any] | None) -> None:
    kind = GateConfig if path == CONFIG_PATH else Plan
    wrong = problems(kind, before) if before is not None else []
    if wrong:
        warn(f"{path} is malformed: {'; '.join(wrong)}")
