"""Keys are fetched when needed, kept as long as they hold, and never asked for in a flood."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from gate.callers.keys import APP_CHECK_JWKS_URL, FIREBASE_JWKS_URL, RemoteKeys
from gate.errors import GateError, LedgerError, UnauthenticatedError
from tests.callers.google import KID, WEAK_KID, KeyServer, is_of, key_set
from tests.makers import FakeClock

GARBAGE = {
    "empty": b"",
    "text": b"<html>",
    "list": b"[]",
    "no-keys": b"{}",
    "certificates": b'{"key-1": "-----BEGIN CERTIFICATE-----"}',
    "no-list": b'{"keys": 7}',
    "no-numbers": b'{"keys": [{"kty": "RSA", "kid": "key-1"}]}',
    "no-base64": b'{"keys": [{"kty": "RSA", "kid": "key-1", "e": "AQAB", "n": "*"}]}',
    "not-ascii": '{"keys": [{"kty": "RSA", "kid": "key-1", "e": "AQAB", "n": "é"}]}'.encode(),
    "zero": b'{"keys": [{"kty": "RSA", "kid": "key-1", "e": "", "n": ""}]}',
    "even": key_set(KID).replace(b'"AQAB"', b'"AQAA"'),
    "nested": b"[" * 100_000,
    "weak-key": key_set(WEAK_KID),
    "too-long": key_set(KID) + b" " * 300_000,
}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server() -> KeyServer:
    return KeyServer(key_set(KID))


@pytest.fixture
def keys(server: KeyServer, clock: FakeClock) -> RemoteKeys:
    return RemoteKeys.of_firebase(server.exchanges, clock)


async def test_a_key_set_becomes_keys(clock: FakeClock) -> None:
    """Keys in it that are not RSA are skipped."""
    keys = RemoteKeys.of_app_check(KeyServer(key_set(KID)).exchanges, clock)

    assert is_of(KID, await keys.key(KID))
    with pytest.raises(UnauthenticatedError):
        await keys.key("not-ours")


@pytest.mark.parametrize("url", [FIREBASE_JWKS_URL, APP_CHECK_JWKS_URL])
def test_keys_come_from_google_over_https(url: str) -> None:
    assert httpx.URL(url).scheme == "https"
    assert httpx.URL(url).host.endswith(".googleapis.com")


async def test_keys_are_kept_for_as_long_as_they_hold(keys: RemoteKeys, server: KeyServer, clock: FakeClock) -> None:
    await keys.key(KID)
    clock.advance(seconds=3599)
    await keys.key(KID)
    assert server.asked == 1

    clock.advance(seconds=1)
    await keys.key(KID)

    assert server.asked == 2


async def test_the_age_of_an_answer_counts(server: KeyServer, clock: FakeClock) -> None:
    """A cache on the way may hand out what is nearly stale."""
    server.headers["age"] = "3500"
    keys = RemoteKeys.of_firebase(server.exchanges, clock)
    await keys.key(KID)
    clock.advance(seconds=101)
    await keys.key(KID)

    assert server.asked == 2


@pytest.mark.parametrize("cache_control", ["", "no-store", "max-age=0", "s-maxage=9999", "max-age=-1", "max-age=x"])
async def test_an_answer_without_a_lifetime_is_no_flood(cache_control: str, clock: FakeClock) -> None:
    server = KeyServer(key_set(KID), cache_control=cache_control)
    keys = RemoteKeys.of_firebase(server.exchanges, clock)
    for _ in range(100):
        await keys.key(KID)
        clock.advance(seconds=0.5)

    assert server.asked == 1


async def test_a_new_key_is_found_before_the_old_answer_is_stale(
    keys: RemoteKeys, server: KeyServer, clock: FakeClock
) -> None:
    """Google may rotate early; its new tokens must not wait for our cache."""
    await keys.key(KID)
    clock.advance(seconds=61)
    server.document = key_set(KID, "key-2")

    assert is_of("key-2", await keys.key("key-2"))


async def test_a_flood_of_forged_ids_asks_at_most_once_a_minute(
    keys: RemoteKeys, server: KeyServer, clock: FakeClock
) -> None:
    """Anybody can write a key id into a token. That must not make us ask Google for each."""
    for second in range(180):
        outcomes = await asyncio.gather(
            *(keys.key(f"forged-{second}-{number}") for number in range(10)), return_exceptions=True
        )
        assert all(isinstance(outcome, UnauthenticatedError) for outcome in outcomes)
        clock.advance(seconds=1)

    assert server.asked == 3


async def test_keys_that_were_asked_for_ahead_are_waited_for(keys: RemoteKeys, server: KeyServer) -> None:
    """The first caller's token finds them under way, and nobody asks twice."""
    keys.read_ahead()
    keys.read_ahead()

    await keys.key(KID)

    assert server.asked == 1


async def test_fifty_at_once_ask_once(keys: RemoteKeys, server: KeyServer) -> None:
    await asyncio.gather(*(keys.key(KID) for _ in range(50)))

    assert server.asked == 1


@pytest.mark.parametrize("document", GARBAGE.values(), ids=GARBAGE)
async def test_an_answer_that_is_no_keys_lets_nobody_in(document: bytes, clock: FakeClock) -> None:
    """Without keys nobody can be verified, and that is not the callers' fault."""
    keys = RemoteKeys.of_firebase(KeyServer(document).exchanges, clock)

    with pytest.raises(LedgerError):
        await keys.key(KID)


async def test_an_outage_is_not_asked_about_by_every_call(
    keys: RemoteKeys, server: KeyServer, clock: FakeClock
) -> None:
    server.error = httpx.ConnectError("no route")
    outcomes = await asyncio.gather(*(keys.key(KID) for _ in range(50)), return_exceptions=True)
    assert all(isinstance(outcome, LedgerError) for outcome in outcomes)
    assert server.asked == 1

    server.error = None
    clock.advance(seconds=6)

    assert is_of(KID, await keys.key(KID))


async def test_good_keys_outlive_a_short_outage(keys: RemoteKeys, server: KeyServer, clock: FakeClock) -> None:
    await keys.key(KID)
    server.status = 503
    clock.advance(seconds=3600 + 3599)

    assert is_of(KID, await keys.key(KID))


async def test_good_keys_do_not_outlive_a_long_outage(keys: RemoteKeys, server: KeyServer, clock: FakeClock) -> None:
    """A key that Google took back would be good for ever otherwise."""
    await keys.key(KID)
    server.status = 503
    clock.advance(seconds=7200)

    with pytest.raises(LedgerError):
        await keys.key(KID)


async def test_a_key_that_google_took_back_is_gone(keys: RemoteKeys, server: KeyServer, clock: FakeClock) -> None:
    await keys.key(KID)
    server.document = key_set("key-2")
    clock.advance(seconds=3600)

    with pytest.raises(UnauthenticatedError):
        await keys.key(KID)


async def test_a_broken_answer_replaces_no_good_keys(keys: RemoteKeys, server: KeyServer, clock: FakeClock) -> None:
    await keys.key(KID)
    server.document = b"{}"
    clock.advance(seconds=3600)

    assert is_of(KID, await keys.key(KID))


async def test_the_public_message_says_nothing_about_keys(keys: RemoteKeys, server: KeyServer) -> None:
    server.error = httpx.ConnectError("securetoken at www.googleapis.com")
    with pytest.raises(GateError) as caught:
        await keys.key(KID)

    assert "google" not in f"{caught.value.public_message} {caught.value}".lower()
