"""`twohop token`: API tokens, for the operator: made for a user, listed, found by what leaked, and ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gate.domain.api_token import PREFIX, TokenSigner, is_token, unproven_grant
from gate.domain.plan import Cohort
from gate.domain.token_scopes import MODELS, Scopes
from gate.ports import Caller
from gate.settings import LedgerKind
from gate.tokens import LIFETIMES_SECONDS, Token, Tokens, TokenState
from twohop.configured import DEV_PROJECT, TOKEN_SECRET_FILE, ConfiguredLedger
from twohop.errors import BadInputError
from twohop.given import checked_uid, json_option, uid_argument
from twohop.heard import Heard
from twohop.session import Session
from twohop.show import NOTHING, Column, hint, moment, show, show_json, table

if TYPE_CHECKING:
    from gate.parts import Store

_which = click.argument("which", metavar="TOKEN")


@click.group(no_args_is_help=True)
def token() -> None:
    """API tokens, for code that is no browser.

    TOKEN is a token's id, or the token itself; "-" reads it from standard input, so that no shell remembers it.
    """


@token.command()
@uid_argument()
@click.option("--label", required=True, help="Your own word for it.")
@click.option("--lifetime", default="week", show_default=True, help="hour, day, week, month, year, or seconds.")
@click.option("--scope", "scopes", multiple=True, default=(MODELS,), help="models, model:NAME, or usage; repeatable.")
@json_option
@click.pass_obj
def create(session: Session, uid: str, *, label: str, lifetime: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """Make a token that stands for a user. It is shown once, and cannot be had again."""
    checked = _checked_scopes(scopes)
    signer = _signer(session.ledger)

    async def make(store: Store) -> tuple[str, Token]:
        caller = Caller(uid=uid, cohort=Cohort.VERIFIED)
        return await _tokens(store, session, signer).create(
            caller,
            label=label,
            lifetime=_lifetime(lifetime),
            scopes=checked,
        )

    text, made = session.run(make)
    if as_json:
        show_json({"token": text, **_json(made, session)})
        return
    click.echo(text)
    hint(f"{made.label}: works until {made.expires_at:%Y-%m-%d %H:%M} UTC; it is not shown again")


@token.command("list")
@uid_argument()
@json_option
@click.pass_obj
def list_(session: Session, uid: str, *, as_json: bool) -> None:
    """List a user's tokens: those that work, and for 30 days those that no longer do."""
    found = session.run(lambda store: _tokens(store, session).of_owner(uid))
    if as_json:
        show_json([_json(one, session) for one in found])
    elif found:
        _show(found, session)
    else:
        hint(f"{uid} has no tokens")


@token.command("show")
@_which
@json_option
@click.pass_obj
def show_(session: Session, which: str, *, as_json: bool) -> None:
    """Show whose a token is and whether it works: for one that was found where it should not be."""
    token_id = _id_of(which)
    found = session.run(lambda store: _found(_tokens(store, session), token_id))
    if as_json:
        show_json({"owner": found.owner, **_json(found, session)})
        return
    show(f"owner  {found.owner}")
    _show([found], session)


@token.command()
@_which
@click.pass_obj
def revoke(session: Session, which: str) -> None:
    """End a token. It is refused from the next call on, and stays on its owner's list for 30 days."""
    ended = _do(session, which, lambda tokens, found: tokens.end(found))
    show(f"revoked  {ended.token_id}  {ended.label} of {ended.owner}")


@token.command()
@_which
@click.pass_obj
def delete(session: Session, which: str) -> None:
    """End a token, and take it off its owner's list."""
    ended = _do(session, which, lambda tokens, found: tokens.forget(found))
    show(f"deleted  {ended.token_id}  {ended.label} of {ended.owner}")


def _do(session: Session, which: str, deed: Callable[[Tokens, Token], Awaitable[object]]) -> Token:
    token_id = _id_of(which)

    async def work(store: Store) -> Token:
        tokens = _tokens(store, session)
        found = await _found(tokens, token_id)
        await deed(tokens, found)
        return found

    return session.run(work)


async def _found(tokens: Tokens, token_id: str) -> Token:
    found = await tokens.kept(token_id)
    if found is None:
        raise BadInputError(f"there is no token {token_id}; it was deleted, or is of another project")
    return found


def _id_of(which: str) -> str:
    """Return the id that was typed, or that of the token that was."""
    text = sys.stdin.readline().strip() if which == "-" else which
    if not text.startswith(PREFIX):
        return checked_uid(text)
    if not is_token(text):
        raise BadInputError(f"what begins with {PREFIX} is no whole token: its checksum is wrong")
    return unproven_grant(text).token_id


def _tokens(store: Store, session: Session, signer: TokenSigner | None = None) -> Tokens:
    from gate.steps.policy import Policies

    policies = Policies(documents=store, notifier=Heard().log, clock=session.clock, fresh_seconds=0)
    nobody = TokenSigner(project="", secrets=())
    return Tokens(policies=policies, documents=store, signer=signer or nobody, clock=session.clock)


def _signer(ledger: ConfiguredLedger) -> TokenSigner:
    """Return what signs tokens as hop 1 does; it must have the same secret and the same project."""
    kept = Path(ledger.sqlite_path).with_name(TOKEN_SECRET_FILE)
    on_this_machine = ledger.kind is LedgerKind.SQLITE
    secret = os.environ.get("TOKEN_SECRET", "")
    if not secret and on_this_machine and kept.is_file():
        secret = kept.read_text("utf-8")
    if not secret:
        remedy = 'TOKEN_SECRET="$(firebase functions:secrets:access TOKEN_SECRET)" twohop token create …'
        raise BadInputError(f"a token is signed with hop 1's TOKEN_SECRET, which is not set here: {remedy}")
    project = os.environ.get("GCLOUD_PROJECT", DEV_PROJECT) if on_this_machine else ledger.project
    try:
        return TokenSigner(project=project, secrets=[secret.split(",")[0].strip().encode()])
    except ValueError as exc:
        raise BadInputError(str(exc)) from exc


def _lifetime(text: str) -> Any:
    if text in LIFETIMES_SECONDS:
        return text
    if not text.isascii() or not text.isdigit():
        raise BadInputError(f"{text!r} is no lifetime: use {', '.join(LIFETIMES_SECONDS)}, or seconds")
    return int(text)


def _checked_scopes(scopes: tuple[str, ...]) -> Scopes:
    try:
        return msgspec.convert(scopes, Scopes)
    except msgspec.ValidationError as exc:
        raise BadInputError("a scope is models, model:NAME or usage") from exc


def _json(token: Token, session: Session) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(token)
    return {**fields, "state": token.state(now=session.now()).value}


def _show(tokens: list[Token], session: Session) -> None:
    now = session.now()
    made = table(
        Column(name="token id"),
        Column(name="label", may_shrink=True),
        Column(name="scopes", may_shrink=True),
        *(Column(name=name) for name in ("until", "last used", "state")),
    )
    for one in tokens:
        used = moment(one.last_used_at, now) if one.last_used_at else NOTHING
        style = "" if one.state(now=now) is TokenState.ACTIVE else "dim"
        cells = (one.token_id, one.label, ", ".join(one.scopes), f"{one.expires_at:%Y-%m-%d}", used)
        made.add_row(*cells, one.state(now=now).value, style=style)
    show(made)
