"""What the Firebase verifier does besides the contract: it remembers, and it asks about accounts when told to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from gate.callers.accounts import Account
from gate.callers.claims import Session
from gate.callers.firebase import FirebaseCallerVerifier
from gate.callers.rs256 import PublicKey
from gate.callers.verdicts import Verdicts
from gate.domain.plan import Cohort
from gate.errors import LedgerError, UnauthenticatedError
from gate.ports import Caller, Credentials
from tests.callers.google import PROJECT, forge, id_claims, public_key, sign
from tests.makers import NOON, FakeClock

NOON_MS = int(NOON.timestamp()) * 1000


class CountingKeys:
    """Keys without a network, which count how often a signature was checked."""

    def __init__(self) -> None:
        self.asked = 0

    async def key(self, kid: str) -> PublicKey:
        self.asked += 1
        return public_key(kid)

    def read_ahead(self) -> None: ...


class Accounts:
    """Firebase's list of accounts."""

    def __init__(self, accounts: Mapping[str, Account | Exception | None]) -> None:
        self.accounts = dict(accounts)
        self.asked: list[str] = []

    async def __call__(self, uid: str) -> Account | None:
        self.asked.append(uid)
        found = self.accounts[uid]
        if isinstance(found, Exception):
            raise found
        return found


def make_verifier(**options: Any) -> tuple[FirebaseCallerVerifier, CountingKeys]:
    keys = CountingKeys()
    return FirebaseCallerVerifier(project=PROJECT, keys=keys, clock=FakeClock(), **options), keys


def make_session(uid: str) -> Session:
    caller = Caller(uid=uid, cohort=Cohort.VERIFIED)
    return Session(caller=caller, signed_in_at=0, expires_at=int(NOON.timestamp()) + 60)


async def test_a_token_is_verified_once() -> None:
    """A page sends the same token with each of its calls."""
    verifier, keys = make_verifier()
    credentials = Credentials(bearer=sign(id_claims()))
    for _ in range(20):
        await verifier.verify(credentials)

    assert keys.asked == 1


async def test_a_token_that_was_read_ahead_is_not_verified_again() -> None:
    """An instance's first caller is known before there is a door."""
    verifier, keys = make_verifier()
    credentials = Credentials(bearer=sign(id_claims()))

    ahead = await verifier.read_ahead(credentials)

    assert await verifier.verify(credentials) == ahead
    assert keys.asked == 1


async def test_a_bad_token_is_not_remembered() -> None:
    verifier, keys = make_verifier()
    for _ in range(3):
        with pytest.raises(UnauthenticatedError):
            await verifier.verify(Credentials(bearer=sign(id_claims(aud="other"))))

    assert keys.asked == 3


def test_the_memory_is_bounded_and_forgets_the_longest_unused() -> None:
    verdicts = Verdicts(entries_max=3, clock=FakeClock())
    for token in ("a", "b", "c"):
        verdicts.put(token, make_session(token))
    verdicts.get("a")
    verdicts.put("d", make_session("d"))

    kept = [token for token in "abcd" if verdicts.get(token)]

    assert (kept, len(verdicts)) == (["a", "c", "d"], 3)


def test_an_expired_token_leaves_the_memory() -> None:
    verdicts = Verdicts(entries_max=3, clock=(clock := FakeClock()))
    verdicts.put("a", make_session("a"))
    clock.advance(seconds=60)

    assert verdicts.get("a") is None
    assert len(verdicts) == 0


@pytest.mark.parametrize("ahead_seconds", [0, 5])
async def test_a_clock_a_little_behind_googles_is_forgiven(ahead_seconds: int) -> None:
    verifier, _ = make_verifier()
    now = int(NOON.timestamp()) + ahead_seconds
    caller = await verifier.verify(Credentials(bearer=sign(id_claims(iat=now, auth_time=now))))

    assert caller.uid == "alice"


@pytest.mark.parametrize(
    "header",
    [{"alg": "RS256", "kid": kid} for kid in ("", None, 7, ["key-1"])]
    + [{"alg": algorithm, "kid": "key-1"} for algorithm in ("HS256", "none", "RS384", "ES256", None, 7)],
    ids=repr,
)
async def test_no_key_is_asked_for_on_behalf_of_a_header_that_is_not_googles(header: dict[str, Any]) -> None:
    """What cannot be good must not cost a request either."""
    verifier, keys = make_verifier()
    token = forge(header, id_claims(), b"signature")

    with pytest.raises(UnauthenticatedError):
        await verifier.verify(Credentials(bearer=token))
    assert keys.asked == 0


REVOKED = {
    "deleted": None,
    "disabled": Account(disabled=True, tokens_valid_after_ms=0),
    "revoked": Account(disabled=False, tokens_valid_after_ms=NOON_MS - 59_000),
}


@pytest.mark.parametrize("account", REVOKED.values(), ids=REVOKED)
async def test_an_account_that_fell_is_refused_at_its_next_call(account: Account | None) -> None:
    """Though its token was verified a moment ago, and is remembered."""
    accounts = Accounts({"alice": Account(disabled=False, tokens_valid_after_ms=NOON_MS - 60_000)})
    verifier, _ = make_verifier(lookup=accounts)
    credentials = Credentials(bearer=sign(id_claims()))
    await verifier.verify(credentials)
    accounts.accounts["alice"] = account

    with pytest.raises(UnauthenticatedError) as caught:
        await verifier.verify(credentials)
    assert caught.value.public_message == UnauthenticatedError.default_message


async def test_an_account_that_cannot_be_asked_about_is_refused() -> None:
    verifier, _ = make_verifier(lookup=Accounts({"alice": LedgerError("no answer")}))

    with pytest.raises(LedgerError):
        await verifier.verify(Credentials(bearer=sign(id_claims())))


async def test_nobody_is_asked_about_before_the_token_holds() -> None:
    """Otherwise strangers could make us call Google as often as they like."""
    accounts = Accounts({})
    verifier, _ = make_verifier(lookup=accounts)
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(Credentials(bearer=sign(id_claims(aud="other"))))

    assert accounts.asked == []


async def test_a_header_that_asks_for_more_than_is_done_is_refused() -> None:
    """RFC 7515 has whoever does not understand a critical header refuse the token, however well it is signed."""
    verifier, keys = make_verifier()
    header = {"crit": ["exp"], "exp": 1}

    with pytest.raises(UnauthenticatedError, match="asks for what is not done here"):
        await verifier.verify(Credentials(bearer=sign(id_claims(), headers=header)))

    assert keys.asked == 0


async def test_a_signature_with_strange_characters_is_refused() -> None:
    """A lax reader of base64 skips them, and one token would have many spellings."""
    verifier, _ = make_verifier()
    token = sign(id_claims())

    with pytest.raises(UnauthenticatedError):
        await verifier.verify(Credentials(bearer=f"{token[:-4]}!{token[-4:]}"))
