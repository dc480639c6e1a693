"""What is meant for one machine cannot exist in the cloud."""

from __future__ import annotations

import pytest

from gate.callers.dev import DevSignIn
from gate.callers.emulator import EmulatorCallerVerifier
from gate.errors import SettingsError, UnauthenticatedError
from gate.ports import Credentials
from tests.makers import FakeClock

SECRET = "s" * 32


def test_the_dev_sign_in_refuses_to_be_deployed() -> None:
    with pytest.raises(SettingsError, match="SIGN_IN"):
        DevSignIn(secret=SECRET, clock=FakeClock(), deployed=True)


def test_the_emulators_sign_in_refuses_to_be_deployed() -> None:
    with pytest.raises(SettingsError, match="FIREBASE_AUTH_EMULATOR_HOST"):
        EmulatorCallerVerifier(project="demo", clock=FakeClock(), deployed=True)


@pytest.mark.parametrize("secret", ["", "short", "s" * 31])
def test_a_short_secret_is_refused(secret: str) -> None:
    with pytest.raises(SettingsError, match="DEV_SIGN_IN_SECRET") as caught:
        DevSignIn(secret=secret, clock=FakeClock(), deployed=False)

    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize("uid", ["", "a/b", "..", "__x__"])
def test_no_token_is_minted_for_a_uid_that_could_not_be_a_caller(uid: str) -> None:
    with pytest.raises(UnauthenticatedError):
        DevSignIn(secret=SECRET, clock=FakeClock(), deployed=False).mint(uid)


async def test_a_minted_token_lives_as_long_as_was_asked() -> None:
    clock = FakeClock()
    sign_in = DevSignIn(secret=SECRET, clock=clock, deployed=False)
    token = sign_in.mint("alice", lifetime_seconds=10)
    clock.advance(seconds=10)

    with pytest.raises(UnauthenticatedError):
        await sign_in.verify(Credentials(bearer=token))


async def test_another_machines_token_is_refused() -> None:
    token = DevSignIn(secret="t" * 32, clock=FakeClock(), deployed=False).mint("alice")

    with pytest.raises(UnauthenticatedError):
        await DevSignIn(secret=SECRET, clock=FakeClock(), deployed=False).verify(Credentials(bearer=token))
