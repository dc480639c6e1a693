"""A token's text: what it says, who may believe it, and how a leaked one is recognised."""

from __future__ import annotations

import re
import secrets
import zlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.domain.api_token import CHARS_MAX, Grant, TokenSigner, is_token, unproven_grant
from gate.errors import UnauthenticatedError
from tests.makers import NOON

SECRET, OTHER = b"s" * 32, b"o" * 32
LATER = int(NOON.timestamp()) + 60
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def signer(*secrets: bytes, project: str = "demo-project") -> TokenSigner:
    return TokenSigner(project=project, secrets=secrets or (SECRET,))


def grant(**changes: Any) -> Grant:
    fields: dict[str, Any] = {
        "owner": "alice",
        "cohort": "verified",
        "scopes": ("models",),
        "expires_at": LATER,
        "secret": bytes(range(16)),
    }
    return Grant(**{**fields, **changes})


def with_checksum(text: str) -> str:
    """Return a forged text with a checksum that is right, as anybody can make it."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = DIGITS[digit] + digits
    return text + digits


def refused(reader: TokenSigner, token: str) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        reader.read(token, now=NOON)
    assert not token or token not in repr(caught.value)


grants = st.builds(
    Grant,
    owner=st.text(st.characters(codec="utf-8"), min_size=1, max_size=128),
    cohort=st.sampled_from(["verified", "anonymous"]),
    scopes=st.lists(st.from_regex(r"\A(usage|models|model:[a-z0-9.-]{1,96})\Z"), min_size=1, max_size=16).map(tuple),
    expires_at=st.integers(LATER, 2**40),
    secret=st.binary(min_size=16, max_size=16),
)


@given(grants)
def test_what_was_granted_is_what_is_read(given_: Grant) -> None:
    """Whatever the uid and the scopes are, and never longer than a token may be."""
    token = signer().write(given_)

    assert signer().read(token, now=NOON) == given_
    assert unproven_grant(token) == given_
    assert is_token(token)
    assert len(token) <= CHARS_MAX


def test_a_token_is_one_word_of_letters_and_digits() -> None:
    """A double click selects it whole, and no shell, URL or header has to quote it."""
    assert re.fullmatch(r"th_[0-9A-Za-z]{80,130}", signer().write(grant(owner="u" * 28)))


@given(st.integers(0, 200), st.sampled_from(DIGITS))
def test_one_mistyped_character_is_seen_without_the_secret(place: int, digit: str) -> None:
    """So a scanner can tell a token from what only looks like one."""
    token = signer().write(grant())
    place = 3 + place % (len(token) - 3)
    changed = token[:place] + digit + token[place + 1 :]

    assert is_token(changed) == (changed == token)


@pytest.mark.parametrize(
    "text",
    ["", "th_", "th_" + "0" * 100, "th_" + "ä" * 100, "ghp_" + "A" * 36, "th_" + "A" * 10_000, "th_A b\n" * 20],
    ids=["empty", "prefix", "zeros", "not-ascii", "another-kind", "long", "spaces"],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    assert not is_token(text)
    refused(signer(), text)


@given(st.binary(min_size=1, max_size=300))
def test_a_made_up_token_with_a_right_checksum_is_refused(raw: bytes) -> None:
    """The checksum is for mistakes: it proves nothing about who made the token."""
    number, digits = int.from_bytes(b"\x01" + raw, "big"), ""
    while number:
        number, digit = divmod(number, 62)
        digits = DIGITS[digit] + digits

    refused(signer(), with_checksum("th_" + digits))


def test_a_token_of_another_project_is_refused() -> None:
    """Also when both projects were given the same secret."""
    refused(signer(project="other-project"), signer().write(grant()))


def test_a_token_of_another_secret_is_refused() -> None:
    refused(signer(OTHER), signer().write(grant()))


def test_without_a_secret_no_token_holds() -> None:
    """A gate that has none must not take those that were signed with nothing."""
    nobody = TokenSigner(project="demo-project", secrets=())

    assert not nobody.can_sign
    refused(nobody, signer().write(grant()))


def test_a_secret_can_be_rotated_without_ending_tokens() -> None:
    """The new one signs, and the old one is believed until it is taken out."""
    old, both, new = signer(SECRET), signer(OTHER, SECRET), signer(OTHER)

    assert both.read(old.write(grant()), now=NOON) == grant()
    assert new.read(both.write(grant()), now=NOON) == grant()
    refused(new, old.write(grant()))


def test_a_short_secret_is_refused() -> None:
    """It could be guessed."""
    with pytest.raises(ValueError, match="TOKEN_SECRET needs 32 bytes"):
        signer(b"short")


@pytest.mark.parametrize(("seconds", "holds"), [(59, True), (60, False), (61, False)])
def test_a_token_holds_until_the_second_it_expires(seconds: int, holds: bool) -> None:
    token, at = signer().write(grant()), NOON + timedelta(seconds=seconds)

    if holds:
        assert signer().read(token, now=at) == grant()
    else:
        with pytest.raises(UnauthenticatedError, match="expired"):
            signer().read(token, now=at)


def test_the_id_says_nothing_of_the_secret_and_never_changes() -> None:
    """It names the document, so it must be the same on every instance, and must not lead back to the token."""
    one, other = grant(), grant(secret=secrets.token_bytes(16))

    assert one.token_id == grant(owner="bob").token_id != other.token_id
    assert re.fullmatch(r"[0-9a-f]{32}", one.token_id)
    assert one.secret.hex() not in one.token_id
    assert "secret" not in repr(one)
