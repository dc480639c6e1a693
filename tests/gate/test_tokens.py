"""API tokens as their owners make and end them, and as the gate believes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gate.callers.api_tokens import ApiTokenVerifier, LiveTokenVerifier
from gate.domain.api_token import TokenSigner, is_token
from gate.domain.plan import Budget, Cohort
from gate.domain.request import InferRequest
from gate.errors import (
    ForbiddenError,
    GateError,
    InvalidRequestError,
    LedgerError,
    QuotaExceededError,
    SettingsError,
    TokenNotFoundError,
    UnauthenticatedError,
)
from gate.ports import Caller, Credentials
from gate.service import Gate
from gate.steps.pacing import Pace
from gate.steps.policy import Policies
from gate.tokens import Tokens, TokenState
from tests.gate.doubles import BelievingVerifier, Script, WatchedLedger, WatchedLog, fill
from tests.gate.world import WEBHOOKS
from tests.makers import NOON, FakeClock, make_documents, make_model, make_plan

ALICE = Caller(uid="alice", cohort=Cohort.VERIFIED)
BOB = Caller(uid="bob", cohort=Cohort.VERIFIED)
SIGNER = TokenSigner(project="demo-project", secrets=[b"s" * 32])
HELLO = InferRequest(inputs="hello")


class World:
    """Two instances of hop 1 on one ledger: what one does must hold on the other at once."""

    def __init__(self, ledger: WatchedLedger, *, signer: TokenSigner = SIGNER) -> None:
        self.ledger = ledger
        self.clock = FakeClock()
        self.log = WatchedLog()
        self.provider = Script()
        policies = Policies(documents=ledger, notifier=self.log, clock=self.clock, fresh_seconds=10)
        self.tokens = Tokens(policies=policies, documents=ledger, signer=signer, clock=self.clock)
        self.verifier = ApiTokenVerifier(BelievingVerifier(), signer=signer, clock=self.clock)
        self.live = LiveTokenVerifier(self.verifier, tokens=self.tokens, pace=Pace(clock=self.clock))
        self.gates = [self._gate() for _ in range(2)]

    def _gate(self) -> Gate:
        return Gate(
            policies=Policies(documents=self.ledger, notifier=self.log, clock=self.clock, fresh_seconds=10),
            ledger=self.ledger,
            provider=self.provider,
            model=make_model(),
            webhooks=WEBHOOKS,
            clock=self.clock,
            log=self.log,
        )

    async def caller(self, token: str) -> Caller:
        return await self.verifier.verify(Credentials(bearer=token))

    async def infer(self, token: str, request: InferRequest = HELLO, *, instance: int = 0) -> Any:
        return (await self.gates[instance].infer(await self.caller(token), request)).outputs

    async def made(self, **changes: Any) -> str:
        token, _ = await self.tokens.create(ALICE, **{"label": "a script", "lifetime": "week", **changes})
        return token


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    ledger = WatchedLedger(str(tmp_path / "ledger"))
    await fill(ledger, make_documents())
    yield World(ledger)
    await ledger.close()


async def test_a_token_stands_for_its_owner(world: World) -> None:
    """What it runs is counted on them, and they see when it was used."""
    token = await world.made()
    world.clock.advance(minutes=3)

    assert await world.infer(token) == [[0.5, 0.25]]
    assert (await world.ledger.counters("usage/alice"))[("days", "2026-11-21", "requests")] == 1
    [kept] = await world.tokens.of_caller(ALICE)
    assert kept.last_used_at == NOON + timedelta(minutes=3)
    [job] = await world.ledger.jobs()
    assert (job.caller, job.cohort, job.token_id) == ("alice", Cohort.TOKEN, kept.token_id)


async def test_what_is_stored_leads_back_to_no_token(world: World) -> None:
    """Who reads the whole database can call nothing with it."""
    token = await world.made()

    stored = repr([await world.ledger.collection(name) for name in ("tokens", "revoked_tokens", "users")])
    secret = SIGNER.read(token, now=NOON).secret
    assert is_token(token)
    assert token not in stored
    assert repr(secret)[2:-1] not in stored
    assert secret.hex() not in stored


async def test_a_revoked_token_is_refused_on_the_next_call_on_every_instance(world: World) -> None:
    """Instances that used it a moment ago remember nothing that could let it through."""
    token = await world.made()
    for instance in (0, 1):
        await world.infer(token, instance=instance)
    [kept] = await world.tokens.of_caller(ALICE)

    await world.tokens.revoke(ALICE, kept.token_id)

    for instance in (0, 1):
        with pytest.raises(UnauthenticatedError):
            await world.infer(token, instance=instance)
    with pytest.raises(UnauthenticatedError):
        await world.live.verify(Credentials(bearer=token))
    assert len(world.provider.orders) == 2
    assert (await world.ledger.counters("usage/alice"))[("days", "2026-11-21", "requests")] == 2


async def test_a_revoked_token_is_not_told_an_earlier_answer_either(world: World) -> None:
    """Repeating counts nothing, but it reads."""
    token, request = await world.made(), InferRequest(inputs="hello", idempotency_key="one")
    await world.infer(token, request)
    [kept] = await world.tokens.of_caller(ALICE)
    await world.tokens.revoke(ALICE, kept.token_id)

    with pytest.raises(UnauthenticatedError):
        await world.infer(token, request)


async def test_nor_when_its_owner_is_refused_from_memory(world: World) -> None:
    """A caller at a limit is refused without a commit, and only the commit knows of the token."""
    await fill(world.ledger, make_documents(make_plan(requests_per_day=1)))
    token, request = await world.made(), InferRequest(inputs="hello", idempotency_key="one")
    await world.infer(token, request)
    with pytest.raises(QuotaExceededError):
        await world.infer(token)
    [kept] = await world.tokens.of_caller(ALICE)
    assert await world.infer(token, request) == [[0.5, 0.25]]

    await world.tokens.revoke(ALICE, kept.token_id)

    with pytest.raises(UnauthenticatedError):
        await world.infer(token, request)


async def test_revoking_while_calls_are_racing_lets_none_in_afterwards(world: World) -> None:
    """Each commit comes before the revocation or after it; there is no between."""
    token = await world.made()
    [kept] = await world.tokens.of_caller(ALICE)

    async def call(number: int) -> bool:
        if number == 20:
            await world.tokens.revoke(ALICE, kept.token_id)
            return False
        try:
            await world.infer(token, instance=number % 2)
        except UnauthenticatedError:
            return False
        return True

    admitted = sum(await asyncio.gather(*(call(number) for number in range(41))))
    requests = (await world.ledger.counters("usage/alice")).get(("days", "2026-11-21", "requests"), 0)
    assert requests == admitted == len(world.provider.orders)
    with pytest.raises(UnauthenticatedError):
        await world.infer(token)


async def test_a_deleted_token_is_refused_and_gone(world: World) -> None:
    token = await world.made()
    [kept] = await world.tokens.of_caller(ALICE)

    await world.tokens.delete(ALICE, kept.token_id)

    with pytest.raises(UnauthenticatedError):
        await world.infer(token)
    assert await world.tokens.of_caller(ALICE) == []
    with pytest.raises(TokenNotFoundError):
        await world.tokens.delete(ALICE, kept.token_id)


async def test_a_revoked_token_stays_on_the_list_until_it_is_deleted(world: World) -> None:
    """Its owner sees what it was and when it ended; revoking again changes nothing."""
    await world.made()
    [kept] = await world.tokens.of_caller(ALICE)
    revoked = await world.tokens.revoke(ALICE, kept.token_id)
    world.clock.advance(hours=1)

    assert await world.tokens.revoke(ALICE, kept.token_id) == revoked
    assert await world.tokens.of_caller(ALICE) == [revoked]
    assert (revoked.state(now=NOON), revoked.revoked_at) == (TokenState.REVOKED, NOON)
    await world.tokens.delete(ALICE, kept.token_id)
    assert await world.tokens.of_caller(ALICE) == []


async def test_a_revocation_that_was_cut_off_halfway_can_be_repeated(world: World) -> None:
    """Until it is through, the list says that the token still works, because it does."""
    await world.made()
    [kept] = await world.tokens.of_caller(ALICE)
    await world.ledger.create(f"revoked_tokens/{kept.token_id}", {"owner": "alice"})
    await world.ledger.update(
        f"revoked_tokens/{kept.token_id}", {**(await world.ledger.read(f"tokens/{kept.token_id}") or {})}
    )

    [listed] = await world.tokens.of_caller(ALICE)
    assert listed.state(now=NOON) is TokenState.ACTIVE
    await world.tokens.revoke(ALICE, kept.token_id)
    assert await world.ledger.read(f"tokens/{kept.token_id}") is None


@pytest.mark.parametrize("deed", ["revoke", "delete"])
async def test_nobody_ends_anothers_token(world: World, deed: str) -> None:
    """It cannot be told from one that does not exist."""
    token = await world.made()
    [kept] = await world.tokens.of_caller(ALICE)

    with pytest.raises(TokenNotFoundError):
        await getattr(world.tokens, deed)(BOB, kept.token_id)
    assert await world.tokens.of_caller(BOB) == []
    assert await world.infer(token)


async def test_a_token_can_neither_make_nor_change_tokens(world: World) -> None:
    """One that leaked could otherwise make itself live for ever."""
    by_token = await world.caller(await world.made())
    [kept] = await world.tokens.of_caller(ALICE)

    for attempt in (
        world.tokens.create(by_token, label="another", lifetime="year"),
        world.tokens.of_caller(by_token),
        world.tokens.revoke(by_token, kept.token_id),
        world.tokens.delete(by_token, kept.token_id),
    ):
        with pytest.raises(ForbiddenError, match="asked for tokens"):
            await attempt


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [("hour", 3_600), ("day", 86_400), ("week", 604_800), ("month", 2_592_000), ("year", 31_536_000), (90, 90)],
)
async def test_a_token_lives_as_long_as_its_owner_chose(world: World, lifetime: Any, seconds: int) -> None:
    token = await world.made(lifetime=lifetime)
    world.clock.advance(seconds=seconds - 1)

    assert await world.infer(token)
    world.clock.advance(seconds=1)
    with pytest.raises(UnauthenticatedError, match="expired"):
        await world.caller(token)
    [kept] = await world.tokens.of_caller(ALICE)
    assert kept.state(now=world.clock.now()) is TokenState.EXPIRED


@pytest.mark.parametrize("lifetime", [0, -1, 100_000_000])
async def test_a_lifetime_that_the_plan_does_not_allow_is_refused(world: World, lifetime: int) -> None:
    with pytest.raises(InvalidRequestError, match="your plan allows from 1 to 31622400") as refused:
        await world.made(lifetime=lifetime)

    assert refused.value.details["limit"] == "token_seconds_max"


async def test_a_plan_without_tokens_makes_none(world: World) -> None:
    """Anonymous accounts cost nobody anything, so their tokens would be nobody's."""
    await fill(world.ledger, make_documents(make_plan(tokens_max=0)))

    with pytest.raises(ForbiddenError, match="no tokens"):
        await world.made()


async def test_many_made_at_once_are_never_more_than_the_plan_allows(world: World) -> None:
    """A page that is clicked in ten windows, or a script in a loop."""
    await fill(world.ledger, make_documents(make_plan(tokens_max=3)))

    made = await asyncio.gather(*(world.made() for _ in range(10)), return_exceptions=True)

    refused = [one for one in made if isinstance(one, BaseException)]
    assert all(isinstance(one, QuotaExceededError) for one in refused)
    assert len(made) - len(refused) <= len(await world.tokens.of_caller(ALICE)) <= 3
    while len(await world.tokens.of_caller(ALICE)) < 3:
        await world.made()
    with pytest.raises(QuotaExceededError, match="alice has 3 tokens"):
        await world.made()


async def test_one_that_is_refused_after_all_never_worked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger fails between the making and the second look: nobody was told the token, and it is taken back."""
    looked = 0

    async def of_owner(_: str) -> list[Any]:
        nonlocal looked
        looked += 1
        if looked == 2:
            raise LedgerError("away")
        return []

    monkeypatch.setattr(world.tokens, "of_owner", of_owner)
    with pytest.raises(LedgerError):
        await world.made()
    assert await world.ledger.collection("tokens") == {}


async def test_a_token_of_one_model_opens_no_other(world: World) -> None:
    """Its scopes narrow what the plan allows, and never widen it."""
    small, other = await world.made(scopes=("model:All-MiniLM-L6-v2",)), await world.made(scopes=("model:large",))

    assert await world.infer(small)
    with pytest.raises(ForbiddenError):
        await world.infer(other)


async def test_a_usage_token_reads_the_quota_and_nothing_else(world: World) -> None:
    token = await world.made(scopes=("usage",))
    caller = await world.live.verify(Credentials(bearer=token))

    assert await world.gates[0].quota(caller)
    with pytest.raises(ForbiddenError) as refused:
        await world.infer(token)
    assert "API token" in refused.value.public_message
    [kept] = await world.tokens.of_caller(ALICE)
    assert kept.last_used_at == NOON
    assert world.ledger.holds == []


async def test_a_scope_of_a_model_that_the_plan_does_not_have_is_refused(world: World) -> None:
    """It would be a token for nothing."""
    await fill(world.ledger, make_documents(make_plan(models=("small",))))

    with pytest.raises(InvalidRequestError, match="'large'"):
        await world.made(scopes=("model:large",))


async def test_a_tokens_budget_goes_with_it(world: World) -> None:
    """The commit that admits a job must know it without a read."""
    budget = Budget(microdollars_per_day=5_000)

    assert (await world.caller(await world.made(budget=budget))).token_budget == budget
    assert (await world.caller(await world.made())).token_budget == Budget()


async def test_without_a_secret_no_token_is_made(world: World) -> None:
    """And its owner is told what to set; a user only that there are none."""
    unset = World(world.ledger, signer=TokenSigner(project="demo-project", secrets=()))

    with pytest.raises(SettingsError, match="TOKEN_SECRET is not set") as refused:
        await unset.made()
    assert "TOKEN_SECRET" not in refused.value.public_message


async def test_a_disabled_user_neither_makes_nor_uses_tokens(world: World) -> None:
    token = await world.made()
    await world.ledger.write("users/alice", {"disabled": True})
    world.clock.advance(seconds=11)

    for attempt in (world.made(), world.infer(token)):
        with pytest.raises(GateError, match="disabled"):
            await attempt


async def test_a_malformed_token_document_is_an_error_that_names_it(world: World) -> None:
    """Somebody edited it in the console."""
    await world.made()
    [kept] = await world.tokens.of_caller(ALICE)
    await world.ledger.update(f"tokens/{kept.token_id}", {"scopes": 3})

    with pytest.raises(LedgerError, match=f"tokens/{kept.token_id} is malformed"):
        await world.tokens.of_caller(ALICE)


async def test_a_token_of_an_anonymous_owner_keeps_their_plan(world: World) -> None:
    """A token is no way to a better one."""
    ghost = replace(ALICE, uid="ghost", cohort=Cohort.ANONYMOUS)
    token, _ = await world.tokens.create(ghost, label="x", lifetime="day")

    assert (await world.caller(token)).cohort is Cohort.ANONYMOUS
