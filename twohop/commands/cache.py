"""`twohop cache`: whose answers are given again, and for how long, in the document gate/config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from gate.domain.plan import GateConfig, parse
from gate.steps.policy import CONFIG_PATH
from twohop.gate_config import change_config, read_config
from twohop.given import json_option
from twohop.session import Session
from twohop.show import Column, hint, show, show_json, table

if TYPE_CHECKING:
    from gate.parts import Store


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
    document = session.run(read_config)
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
        _, after = await change_config(store, lambda before: {"cache_seconds": _kept(before, model.lower(), seconds)})
        return dict(after["cache_seconds"])

    kept = session.run(write)
    hint(f"{model.lower()}: {kept.get(model.lower(), 0)} seconds")


def _kept(before: Mapping[str, Any], model: str, seconds: int) -> dict[str, int]:
    kept = {**before.get("cache_seconds", {}), model: seconds}
    return {name: value for name, value in kept.items() if value}
