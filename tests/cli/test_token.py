"""Tokens that the operator makes, finds and ends; hop 1 believes what was made here."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gate.domain.api_token import TokenSigner, is_token
from gate.domain.plan import STARTER_PLANS
from tests.cli.conftest import DEV_LEDGER, Operator
from tests.makers import NOON
from twohop.cli import cli
from twohop.documents import as_document

SECRET = "s" * 64


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_SECRET", SECRET)
    monkeypatch.delenv("GCLOUD_PROJECT", raising=False)


@pytest.fixture
def owner(operator: Operator) -> Operator:
    """An operator whose ledger has plans."""
    operator.types("init")
    return operator


def test_a_token_is_made_that_hop_1_believes(owner: Operator) -> None:
    """The token is all that standard output holds, so that a script can take it."""
    result = owner.types("token create alice --label script --lifetime day")

    token = result.stdout.strip()
    assert (result.exit_code, is_token(token)) == (0, True)
    grant = TokenSigner(project="demo-twohop", secrets=[SECRET.encode()]).read(token, now=NOON)
    assert (grant.owner, grant.scopes) == ("alice", ("models",))
    assert grant.expires_at == int(NOON.timestamp()) + 86_400


def test_a_users_tokens_are_listed(owner: Operator) -> None:
    owner.types("token create alice --label script --scope model:small --scope usage")

    [listed] = owner.reads("token list alice")
    assert (listed["label"], listed["state"], listed["scopes"]) == ("script", "active", ["model:small", "usage"])
    assert "script" in owner.types("token list alice").stdout
    assert owner.reads("token list bob") == []


def test_a_token_that_leaked_is_found_and_ended_by_itself(owner: Operator) -> None:
    """Whoever found it knows neither its id nor its owner; nothing but a pipe sees it."""
    token = owner.types("token create alice --label script").stdout.strip()

    ended = CliRunner().invoke(cli, ["token", "revoke", "-"], input=f"{token}\n", obj=owner.clock)

    assert (ended.exit_code, "script of alice" in ended.stdout) == (0, True)
    shown = owner.reads(f"token show {token}")
    assert (shown["owner"], shown["state"]) == ("alice", "revoked")
    assert owner.types(f"token delete {shown['token_id']}").exit_code == 0
    assert owner.reads("token list alice") == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param("token show th_nonsense", "checksum", id="mistyped"),
        pytest.param(f"token show {'0' * 32}", "there is no token", id="unknown"),
        pytest.param("token revoke a/b", "slash", id="slash"),
        pytest.param("token create alice --label x --lifetime soon", "'soon' is no lifetime", id="lifetime"),
        pytest.param("token create alice --label x --lifetime 999999999", "your plan allows", id="too-long"),
        pytest.param("token create alice --label x --scope all", "models, model:NAME or usage", id="scope"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(owner: Operator, line: str, says: str) -> None:
    result = owner.types(line)

    assert result.exit_code in (1, 2)
    assert says in result.stderr
    assert len(result.stderr.splitlines()) <= 4


def test_without_hop_1s_secret_none_is_made(owner: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of another secret would look like one and never work."""
    monkeypatch.delenv("TOKEN_SECRET")

    result = owner.types("token create alice --label x")

    assert result.exit_code == 2
    assert "functions:secrets:access TOKEN_SECRET" in result.stderr


def test_the_dev_ledgers_own_secret_is_used(owner: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside `make dev` nothing has to be set."""
    monkeypatch.delenv("TOKEN_SECRET")
    Path(DEV_LEDGER).with_name("token_secret").write_text(SECRET)

    assert is_token(owner.types("token create alice --label x").stdout.strip())


def test_the_starter_plans_say_who_may_have_tokens() -> None:
    """Anybody can be anonymous, so nobody anonymous has one."""
    assert as_document(STARTER_PLANS["free"])["tokens_max"] > 0
    assert as_document(STARTER_PLANS["anonymous"])["tokens_max"] == 0
