"""What the operator typed, checked before anything is read or written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, TypeVar

import click
import msgspec

from gate.domain.plan import Name, Plan
from gate.money import MICRODOLLARS_PER_DOLLAR
from twohop.documents import field_names
from twohop.errors import BadInputError

_Function = TypeVar("_Function", bound=Callable[..., Any])

_UID_BYTES_MAX = 1500
_DOLLARS = re.compile(r"^\$?(\d{1,12})(?:\.(\d+))?$")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")


def uid_argument(*, required: bool = True) -> Callable[[_Function], _Function]:
    """Return a decorator that adds the argument UID, checked."""
    return click.argument("uid", required=required, callback=lambda _ctx, _parameter, uid: uid and checked_uid(uid))


changes_argument = click.argument("changes", nargs=-1, required=True, metavar="FIELD=VALUE...")
"""The argument of every `set`."""


def checked_uid(uid: str) -> str:
    """Return a uid that can name a document.

    Raises:
        BadInputError: it cannot. It would name another user's document, or none.
    """
    if "/" in uid:
        raise BadInputError(f"the uid {uid!r} holds a slash, and a Firebase uid never does")
    if uid in ("", ".", "..") or not uid.isprintable() or len(uid.encode()) > _UID_BYTES_MAX:
        raise BadInputError(f"{uid!r} cannot be a uid; copy it from the Firebase console's Authentication page")
    return uid


def checked_plan_name(name: str) -> str:
    """Return a name that a plan can have.

    Raises:
        BadInputError: it has characters that a plan's name must not have.
    """
    try:
        return msgspec.convert(name, Name)
    except msgspec.ValidationError as exc:
        raise BadInputError(f"{name!r} cannot name a plan: use a-z, 0-9, '-', '_' and '.', 64 at most") from exc


def pairs(given: Iterable[str], *, known: Iterable[str]) -> dict[str, str]:
    """Return what was typed as `field=value`, by field.

    Raises:
        BadInputError: one is no such pair, names no known field, or comes twice.
    """
    fields, found = tuple(known), dict[str, str]()
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadInputError(f"{pair!r} is not FIELD=VALUE; fields: {', '.join(fields)}")
        if name not in fields:
            raise BadInputError(f"{name!r} is no field; fields: {', '.join(fields)}")
        if name in found:
            raise BadInputError(f"{name} is given twice; give it once")
        found[name] = value
    return found


def limit_value(name: str, text: str) -> int | list[str] | None:
    """Return the value of one of a plan's fields; None is for one that may be left out, and is typed as "none".

    Raises:
        BadInputError: it is no whole number. Whether it is in the field's range is for `documents.changed` to say.
    """
    if name == "models":
        return [model.strip() for model in text.split(",") if model.strip()]
    if name in OPTIONAL_PLAN_FIELDS and text == "none":
        return None
    return whole_number(name, text)


def whole_number(name: str, text: str) -> int:
    """Return a whole number, which may be typed as 250_000 or 250,000.

    Raises:
        BadInputError: it is none.
    """
    digits = text.replace("_", "").replace(",", "")
    if not (digits.isascii() and digits.isdigit()):
        raise BadInputError(f"{name}={text!r} is not a whole number of 0 or more")
    return int(digits)


def microdollars(name: str, text: str) -> int:
    """Return an amount in dollars, such as 2.50, as micro-dollars. Nothing is ever rounded.

    Raises:
        BadInputError: it is no amount, or finer than a micro-dollar.
    """
    match = _DOLLARS.match(text)
    if not match:
        raise BadInputError(f"{name}={text!r} is not an amount in dollars such as 25 or 2.50")
    if len(match[2] or "") > 6:
        raise BadInputError(f"{name}={text!r} has more than 6 decimals; a micro-dollar is the smallest amount")
    return int(Decimal(f"{match[1]}.{match[2] or 0}") * MICRODOLLARS_PER_DOLLAR)


PLAN_FIELDS = field_names(Plan)
"""The limits that `plan set` and `user set` know."""
OPTIONAL_PLAN_FIELDS = tuple(field.name for field in msgspec.structs.fields(Plan) if not field.required)
"""Those that a plan may leave out."""
