"""`twohop cache`: whose answers are given again, and for how long, in the document gate/config."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gate.errors import PolicyError
from gate.plan import GateConfig, parse
from gate.policy import CONFIG_PATH
from twohop.documents import changed
from twohop.given import json_option
from twohop.session import Session
from twohop.show import Column, hint, show, show_json, table

if TYPE_CHECKING:
    from gate.bootstrap import Store


@click.group(no_args_is_help=True)
def cache() -> None:
    """Answers that are given again to the caller who got them, at no GPU cost. Off until you say otherwise.

    A change reaches every running instance within POLICY_SECONDS, which is 10 unless you set it.
    """


@cache.command("show")
@json_option
@click.pass_obj
def show_(session: Session, *, as_json: bool) -> None:
    """Show which models' answers are given again, and for how long."""
    document = session.run(lambda store: store.read(CONFIG_PATH))
    if document is None:
        raise PolicyError(f"{CONFIG_PATH} does not exist; `twohop init` makes it")
    kept = parse(GateConfig, document, CONFIG_PATH).cache_seconds
    if as_json:
        show_json(kept)
    elif not kept:
        hint("no model's answers are given again; `twohop cache set MODEL SECONDS` changes that")
    else:
        made = table(Column(name="model"), Column(name="seconds", number=True))
        for model, seconds in sorted(kept.items()):
            made.add_row(model, f"{seconds:,}")
        show(made)


@cache.command("set")
@click.argument("model")
@click.argument("seconds", type=click.IntRange(0, 2_592_000))
@click.pass_obj
def set_(session: Session, model: str, seconds: int) -> None:
    """Give answers of MODEL again for SECONDS, at most 30 days; 0 turns it off."""

    async def write(store: Store) -> dict[str, int]:
        before = await store.read(CONFIG_PATH)
        if before is None:
            raise PolicyError(f"{CONFIG_PATH} does not exist; `twohop init` makes it")
        kept = {**before.get("cache_seconds", {}), model.lower(): seconds}
        kept = {name: value for name, value in kept.items() if value}
        await store.write(CONFIG_PATH, changed(GateConfig, before, {"cache_seconds": kept}, CONFIG_PATH))
        return kept

    kept = session.run(write)
    hint(f"{model.lower()}: {kept.get(model.lower(), 0)} seconds")
