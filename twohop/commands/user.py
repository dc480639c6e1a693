"""`twohop user`: what the owner decided about one caller."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text

from gate.domain.plan import STARTER_PLANS, Plan, UserPolicy, with_overrides
from gate.errors import PolicyError
from gate.ports import Documents
from twohop.documents import changed, field_names, problems, without_version
from twohop.errors import BadInputError
from twohop.given import (
    PLAN_FIELDS,
    changes_argument,
    checked_plan_name,
    json_option,
    limit_value,
    pairs,
    uid_argument,
)
from twohop.session import Session
from twohop.show import Column, show, show_json, table, warn

_BOOLEANS = {"true": True, "false": False}
_DEFAULT = "default"
"""Typed as a value, it takes back what was decided."""


@click.group(no_args_is_help=True)
def user() -> None:
    """One user: their plan, their own limits, disabled or not.

    A change reaches every running instance within POLICY_SECONDS, which is 10 unless you set it.
    """


@user.command("show")
@uid_argument()
@json_option
@click.pass_obj
def show_(session: Session, uid: str, *, as_json: bool) -> None:
    """Show what was decided about a user."""
    document = session.run(lambda store: store.read(f"users/{uid}"))
    wrong = _problems(document or {})
    if as_json:
        show_json({"uid": uid, "malformed": wrong, **without_version(document or {})})
        return
    if wrong:
        raise PolicyError(
            f"users/{uid} is malformed: {'; '.join(wrong)}; repair it with `twohop user set {uid} FIELD=VALUE`"
        )
    _show_user(uid, document or {}, before=document or {})


@user.command("set")
@uid_argument()
@changes_argument
@click.option(
    "--force", is_flag=True, help="Give a plan that does not exist yet. Until it does, the user is refused."
)
@click.pass_obj
def set_(session: Session, uid: str, changes: tuple[str, ...], *, force: bool) -> None:
    """Give a user a plan or limits of their own, or disable them.

    FIELD is plan, disabled, or any limit that `twohop plan show free` lists; "default" as the value takes a
    decision back.

    \b
        twohop user set UID plan=pro requests_per_day=500
        twohop user set UID disabled=true
        twohop user set UID requests_per_day=default
    """  # noqa: D301 - click takes a paragraph that begins with \b as it is
    given = pairs(changes, known=("plan", "disabled", *PLAN_FIELDS))

    async def write(store: Documents) -> tuple[dict[str, Any], dict[str, Any]]:
        before = await store.read(f"users/{uid}") or {}
        after = _after(uid, before, given)
        await _check_plan(store, after.get("plan"), force=force)
        await store.write(f"users/{uid}", after)
        return before, after

    before, after = session.run(write)
    if wrong := _problems(before):
        warn(f"users/{uid} was malformed and is repaired: {'; '.join(wrong)}")
    _show_user(uid, after, before=before)


def _after(uid: str, before: dict[str, Any], given: dict[str, str]) -> dict[str, Any]:
    """Return the document that says `before` and, over it, what was typed."""
    decided = {name: text for name, text in given.items() if name in field_names(UserPolicy)}
    limits = {name: text for name, text in given.items() if name in PLAN_FIELDS}
    stored = {name: value for name, value in before.items() if name not in given or given[name] != _DEFAULT}
    values = {name: _decision(name, text) for name, text in decided.items() if text != _DEFAULT}
    overrides = _overrides(before.get("overrides"), limits)
    after = changed(UserPolicy, stored, {**values, "overrides": overrides}, f"users/{uid}")
    try:
        # Each value is checked by itself, so any plan shows whether an override can hold.
        with_overrides(STARTER_PLANS["free"], overrides, f"users/{uid}.overrides")
    except PolicyError as exc:
        raise BadInputError(str(exc)) from exc
    return after


def _overrides(stored: Any, given: dict[str, str]) -> dict[str, Any]:
    """Return a user's own limits. What is stored and no limit at all goes; it never held."""
    known = stored if isinstance(stored, dict) else {}
    kept = {name: value for name, value in known.items() if name in PLAN_FIELDS and name not in given}
    return {**kept, **{name: limit_value(name, text) for name, text in given.items() if text != _DEFAULT}}


def _decision(name: str, text: str) -> str | bool:
    if name == "plan":
        return checked_plan_name(text)
    if text not in _BOOLEANS:
        raise BadInputError(f"disabled={text!r} is neither true nor false")
    return _BOOLEANS[text]


async def _check_plan(store: Documents, name: str | None, *, force: bool) -> None:
    if name is None or force or await store.read(f"plans/{name}") is not None:
        return
    raise BadInputError(
        f"plans/{name} does not exist, and its users would be refused; make it with `twohop plan set {name} "
        "FIELD=VALUE`, or say --force"
    )


def _problems(document: dict[str, Any]) -> list[str]:
    """Return all that is wrong with a user's document, their own limits included."""
    wrong, overrides = problems(UserPolicy, document), document.get("overrides", {})
    if not isinstance(overrides, dict):
        return wrong
    own = [f"overrides.{one}" for one in problems(Plan, overrides) if not one.endswith("is missing")]
    return [*wrong, *own]


def _show_user(uid: str, document: dict[str, Any], *, before: dict[str, Any]) -> None:
    """Show what is decided, each line that changed with what it was."""
    now, then = _lines(document), _lines(before)
    made = table(Column(name=f"users/{uid}"), Column(name=""), Column(name=""))
    for name in [*now, *(name for name in then if name not in now)]:
        value, old = now.get(name, "the plan's"), then.get(name, "the plan's")
        is_changed = value != old
        made.add_row(name, Text(value, "bold green" if is_changed else ""), f"was {old}" if is_changed else "")
    show(made)


def _lines(document: dict[str, Any]) -> dict[str, str]:
    own = document.get("overrides")
    return {
        "plan": document.get("plan") or "by kind of caller",
        "disabled": str(document.get("disabled", False)).lower(),
        **{name: _words(value) for name, value in (own.items() if isinstance(own, dict) else ())},
    }


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(one) for one in value) or "none"
    return f"{value:,}" if isinstance(value, int) else repr(value)
