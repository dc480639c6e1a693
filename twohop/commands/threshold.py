"""`twohop threshold`: at what share of a budget the kill level goes up by itself, in the document gate/config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from gate.domain.kill import KillLevel
from gate.domain.plan import GateConfig, parse
from gate.steps.policy import CONFIG_PATH
from twohop.gate_config import change_config, read_config
from twohop.given import changes_argument, json_option, pairs, whole_number
from twohop.session import Session
from twohop.show import Column, hint, show, show_json, table

if TYPE_CHECKING:
    from gate.parts import Store

_FIELDS = {of: f"kill_at_percent_of_{of}" for of in ("hour", "day", "overhead")}
_NAMES = tuple(f"{of}.{level.value}" for of in _FIELDS for level in KillLevel if level)


@click.group(no_args_is_help=True)
def threshold() -> None:
    """Shares of a budget, in percent, at which the kill level goes up by itself. `twohop kill --help` has the levels.

    It comes down by `twohop revive` alone.
    """


@threshold.command("show")
@json_option
@click.pass_obj
def show_(session: Session, *, as_json: bool) -> None:
    """Show the thresholds."""
    _show(session.run(read_config), as_json=as_json)


@threshold.command("set")
@changes_argument
@click.pass_obj
def set_(session: Session, changes: tuple[str, ...]) -> None:
    """Change thresholds: a level of the hour's or the day's budget, or of overhead; in percent, or "none".

    \b
        twohop threshold set hour.2=80 day.4=90 day.5=100
        twohop threshold set overhead.1=none
    """  # noqa: D301 - click takes a paragraph that begins with \b as it is
    typed = pairs(changes, known=_NAMES)
    given = {name: None if text == "none" else whole_number(name, text) for name, text in typed.items()}

    async def write(store: Store) -> dict[str, Any]:
        _, after = await change_config(store, lambda before: _fields_after(before, given))
        return after

    _show(session.run(write), as_json=False)


def _fields_after(document: Mapping[str, Any], changes: Mapping[str, int | None]) -> dict[str, Any]:
    now = _thresholds(document)
    for name, percent in changes.items():
        of, _, level = name.partition(".")
        now[of] = {step: value for step, value in {**now[of], level: percent}.items() if value is not None}
    return {_FIELDS[of]: now[of] for of in {name.partition(".")[0] for name in changes}}


def _thresholds(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what is in force, by what it is a share of: a field that is not there has its default."""
    config = parse(GateConfig, dict(document), CONFIG_PATH)
    return {of: dict(getattr(config, field)) for of, field in _FIELDS.items()}


def _show(document: Mapping[str, Any], *, as_json: bool) -> None:
    found = _thresholds(document)
    if as_json:
        show_json(found)
    elif not any(found.values()):
        hint("the kill level never goes up by itself; `twohop threshold set day.5=100` changes that")
    else:
        made = table(
            Column(name="share of"), Column(name="percent", number=True), Column(name="kill level", number=True)
        )
        for of, steps in found.items():
            for level, percent in sorted(steps.items(), key=lambda step: (step[1], step[0])):
                made.add_row(
                    f"the {of}'s budget" if of != "overhead" else "the day's cost, of overhead", str(percent), level
                )
        show(made)
