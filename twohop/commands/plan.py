"""`twohop plan`: what callers may do."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text

from gate.domain.plan import STARTER_PLANS, GateConfig, Plan, parse
from gate.errors import PolicyError
from gate.ports import Documents
from gate.steps.policy import CONFIG_PATH
from twohop.documents import as_document, changed, problems, without_version
from twohop.given import (
    OPTIONAL_PLAN_FIELDS,
    PLAN_FIELDS,
    changes_argument,
    checked_plan_name,
    json_option,
    limit_value,
    pairs,
)
from twohop.session import Session
from twohop.show import NOTHING, Column, hint, short_dollars, show, show_json, table, warn

_STARTER = "free"
_name_argument = click.argument("name", callback=lambda _ctx, _parameter, name: checked_plan_name(name))


@click.group(no_args_is_help=True)
def plan() -> None:
    """Plans: show and change what callers may do.

    A change reaches every running instance within POLICY_SECONDS, which is 10 unless you set it.
    """


@plan.command("list")
@json_option
@click.pass_obj
def list_(session: Session, *, as_json: bool) -> None:
    """List all plans, and which kind of caller gets which."""
    documents, config = session.run(_read_all)
    wrong = {name: found for name, document in documents.items() if (found := problems(Plan, document))}
    good = {name: parse(Plan, documents[name], f"plans/{name}") for name in documents if name not in wrong}
    if as_json:
        show_json({name: _json(name, documents[name], wrong.get(name, [])) for name in documents})
        return
    made = table(
        Column(name="plan", may_shrink=True),
        Column(name="given to", may_shrink=True),
        *(Column(name=name, number=True) for name in ("/min", "burst", "/day", "/month", "in\nflight")),
        *(Column(name=name, number=True) for name in ("GPU s\n/day", "$/day", "$/month")),
    )
    for name in documents:
        made.add_row(*_row(name, good.get(name), _given_to(name, config)))
    show(made) if documents else hint("there are no plans; `twohop init` writes the first two")
    for name, found in wrong.items():
        warn(f"plans/{name} is malformed: {'; '.join(found)}; repair it with `twohop plan set {name} FIELD=VALUE`")


@plan.command("show")
@_name_argument
@json_option
@click.pass_obj
def show_(session: Session, name: str, *, as_json: bool) -> None:
    """Show every limit of one plan."""
    document = session.run(lambda store: store.read(f"plans/{name}"))
    if document is None:
        raise PolicyError(f"plans/{name} does not exist; make it with `twohop plan set {name} FIELD=VALUE`")
    wrong = problems(Plan, document)
    if as_json:
        show_json(_json(name, document, wrong))
        return
    if wrong:
        raise PolicyError(
            f"plans/{name} is malformed: {'; '.join(wrong)}; the last good one stays in force; "
            f"repair it with `twohop plan set {name} FIELD=VALUE`"
        )
    _show_plan(name, document, before=document)


@plan.command("set")
@_name_argument
@changes_argument
@click.pass_obj
def set_(session: Session, name: str, changes: tuple[str, ...]) -> None:
    """Change fields of a plan, or make a new one.

    FIELD is any limit that `twohop plan show free` lists. Values are whole numbers, money in micro-dollars;
    models=a,b or models=* for all;
    microdollars_per_hour=none for no limit by the hour. A new plan begins as the starter plan "free".

    \b
        twohop plan set pro requests_per_day=500 microdollars_per_day=2_000_000
    """  # noqa: D301 - click takes a paragraph that begins with \b as it is
    path = f"plans/{name}"
    given = {field: limit_value(field, text) for field, text in pairs(changes, known=PLAN_FIELDS).items()}

    async def write(store: Documents) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        before = await store.read(path)
        after = changed(Plan, before if before is not None else _starter(), given, path)
        await store.write(path, after)
        return before, after

    before, after = session.run(write)
    if before is None:
        hint(f'{path} is new; what you did not say is as in the starter plan "{_STARTER}"')
    elif wrong := problems(Plan, before):
        warn(f"{path} was malformed and is repaired: {'; '.join(wrong)}")
    _show_plan(name, after, before=_starter() if before is None else before)


async def _read_all(store: Documents) -> tuple[dict[str, dict[str, Any]], GateConfig | None]:
    config = await store.read(CONFIG_PATH)
    good = config is not None and not problems(GateConfig, config)
    return await store.collection("plans"), parse(GateConfig, config, CONFIG_PATH) if config and good else None


def _starter() -> dict[str, Any]:
    return as_document(STARTER_PLANS[_STARTER])


def _json(name: str, document: dict[str, Any], wrong: list[str]) -> dict[str, Any]:
    return {"name": name, "malformed": wrong, **without_version(document)}


def _given_to(name: str, config: GateConfig | None) -> str:
    return ", ".join(cohort.value for cohort, given in config.plans.items() if given == name) if config else ""


def _row(name: str, good: Plan | None, given_to: str) -> list[str | Text]:
    if good is None:
        return [Text(name, "red"), Text("malformed", "red")]
    counts = (good.requests_per_minute, good.burst, good.requests_per_day, good.requests_per_month, good.concurrency)
    money = (good.microdollars_per_day, good.microdollars_per_month)
    return [
        name,
        given_to or NOTHING,
        *(f"{count:,}" for count in (*counts, good.gpu_seconds_per_day)),
        *(short_dollars(amount) for amount in money),
    ]


def _show_plan(name: str, document: dict[str, Any], *, before: dict[str, Any]) -> None:
    """Show a plan, each line that changed with what it was."""
    made = table(Column(name=f"plans/{name}"), Column(name="", number=True), Column(name=""))
    for field in PLAN_FIELDS:
        value, old = document.get(field), before.get(field)
        is_changed = value != old
        now = Text(_words(field, value), "bold green" if is_changed else "")
        made.add_row(field, now, f"was {_words(field, old)}" if is_changed else _remark(field, value))
    show(made)


def _words(field: str, value: Any) -> str:
    if value is None:
        return "no limit" if field in OPTIONAL_PLAN_FIELDS else "missing"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return f"{value:,}" if isinstance(value, int) else repr(value)


def _remark(field: str, value: Any) -> str:
    return short_dollars(value) if field.startswith("microdollars") and value is not None else ""
