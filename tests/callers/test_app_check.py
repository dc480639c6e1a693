"""App Check on top of a sign-in: the app must hold as well as the caller."""

from __future__ import annotations

from typing import Any

import pytest

from gate.callers.app_check import AppCheckVerifier
from gate.callers.keys import RemoteKeys
from gate.domain.plan import Cohort
from gate.errors import LedgerError, SettingsError, UnauthenticatedError
from gate.ports import Caller, Credentials
from tests.callers.google import PROJECT_NUMBER, KeyServer, app_claims, forge, key_set, sign, tamper
from tests.makers import NOON, FakeClock

NOON_SECONDS = int(NOON.timestamp())

WRONG = {
    "expired": {"exp": NOON_SECONDS},
    "no-expiry": {"exp": None},
    "other-issuer": {"iss": "https://firebaseappcheck.googleapis.com/999"},
    "longer-number": {"iss": f"https://firebaseappcheck.googleapis.com/{PROJECT_NUMBER}0"},
    "evil-issuer": {"iss": f"https://firebaseappcheck.googleapis.com.evil.example/{PROJECT_NUMBER}"},
    "other-audience": {"aud": ["projects/999"]},
    "no-audience": {"aud": None},
    "audience-text": {"aud": f"projects/{PROJECT_NUMBER}"},
    "no-app": {"sub": ""},
}


class SignedIn:
    """A sign-in that knows one bearer."""

    def __init__(self) -> None:
        self.asked = 0

    async def verify(self, credentials: Credentials) -> Caller:
        self.asked += 1
        if credentials.bearer != "good":
            raise UnauthenticatedError("not good")
        return Caller(uid="alice", cohort=Cohort.VERIFIED)


class Consumption:
    """Google's memory of used tokens."""

    def __init__(self) -> None:
        self.used: list[str] = []

    async def __call__(self, token: str) -> bool:
        self.used.append(token)
        return self.used.count(token) > 1


def make_verifier(**options: Any) -> AppCheckVerifier:
    clock = FakeClock()
    return AppCheckVerifier(
        options.pop("inner", SignedIn()),
        project_number=PROJECT_NUMBER,
        keys=RemoteKeys.of_app_check(KeyServer(key_set("app-key")).exchanges, clock),
        clock=clock,
        **{"required": True, **options},
    )


def make_token(**claims: Any) -> str:
    return sign(app_claims(**claims), kid="app-key")


def with_token(token: str | None, bearer: str = "good") -> Credentials:
    return Credentials(bearer=bearer, app_check=token)


async def refused(verifier: AppCheckVerifier, credentials: Credentials) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        await verifier.verify(credentials)
    assert caught.value.public_message == UnauthenticatedError.default_message


@pytest.mark.parametrize("required", [True, False])
async def test_a_good_app_with_a_good_caller_is_let_through(required: bool) -> None:
    assert (await make_verifier(required=required).verify(with_token(make_token()))).uid == "alice"


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("claims", WRONG.values(), ids=WRONG)
async def test_a_wrong_token_is_refused_whether_required_or_not(claims: dict[str, Any], required: bool) -> None:
    """Optional means that an app may have none, not that it may have a bad one."""
    await refused(make_verifier(required=required), with_token(make_token(**claims)))


@pytest.mark.parametrize("required", [True, False])
async def test_a_forged_token_is_refused(required: bool) -> None:
    verifier = make_verifier(required=required)
    forged = (
        "",
        "rubbish",
        forge({"alg": "none", "kid": "app-key"}, app_claims()),
        tamper(make_token(), sub="x"),
        sign(app_claims(), kid="stranger"),
    )

    for token in forged:
        await refused(verifier, with_token(token))


async def test_none_is_refused_only_where_one_is_required() -> None:
    await refused(make_verifier(required=True), with_token(None))

    assert (await make_verifier(required=False).verify(with_token(None))).uid == "alice"


async def test_a_good_app_does_not_vouch_for_its_caller() -> None:
    await refused(make_verifier(), with_token(make_token(), bearer="bad"))


async def test_a_token_is_used_up_by_its_first_request() -> None:
    verifier, credentials = make_verifier(consume=Consumption()), with_token(make_token())
    await verifier.verify(credentials)

    await refused(verifier, credentials)


async def test_a_token_that_was_read_ahead_is_not_used_up() -> None:
    """It is the door's to use up: an instance's first caller would be refused."""
    consumption = Consumption()
    verifier = make_verifier(consume=consumption)
    credentials = with_token(make_token())

    ahead = await verifier.read_ahead(credentials)

    assert await verifier.verify(credentials) == ahead


async def test_a_stranger_uses_up_nobodys_token() -> None:
    """The token is used up only when the caller was verified too."""
    consumption = Consumption()
    await refused(make_verifier(consume=consumption), with_token(make_token(), bearer="bad"))
    await refused(make_verifier(consume=consumption), with_token(make_token(exp=0)))

    assert consumption.used == []


async def test_a_token_that_cannot_be_used_up_is_refused() -> None:
    async def no_answer(_: str) -> bool:
        raise LedgerError("no answer")

    with pytest.raises(LedgerError):
        await make_verifier(consume=no_answer).verify(with_token(make_token()))


@pytest.mark.parametrize("number", ["", "my-project", "12/34"])
def test_a_project_number_that_is_none_is_a_setting_to_change(number: str) -> None:
    with pytest.raises(SettingsError, match="PROJECT_NUMBER"):
        AppCheckVerifier(
            SignedIn(),
            project_number=number,
            keys=RemoteKeys.of_app_check(KeyServer(b"").exchanges, FakeClock()),
            clock=FakeClock(),
            required=True,
        )
