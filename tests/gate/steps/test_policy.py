"""The owner's edits take effect in time, malformed ones never, and reading them costs next to nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from gate.domain.plan import STARTER_CONFIG, Cohort
from gate.errors import ForbiddenError, LedgerError, PolicyError
from gate.ports import Caller
from gate.steps.policy import Policies, Policy
from tests.gate.doubles import WatchedDocuments, WatchedLog
from tests.makers import GENEROUS, OPEN_CONFIG, FakeClock, make_config, make_documents, make_plan

FRESH_SECONDS = 10.0
ALICE = Caller(uid="alice", cohort=Cohort.VERIFIED)
BOB = Caller(uid="bob", cohort=Cohort.VERIFIED)
NOBODY = Caller(uid="anonymous-1", cohort=Cohort.ANONYMOUS)
BAD_PLAN = {"requests_per_minute": "many"}


@pytest.fixture
def documents() -> WatchedDocuments:
    return WatchedDocuments(make_documents())


@pytest.fixture
def log() -> WatchedLog:
    return WatchedLog()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def another_instance(
    documents: WatchedDocuments, log: WatchedLog, clock: FakeClock, fresh_seconds: float = FRESH_SECONDS
) -> Policies:
    return Policies(documents=documents, notifier=log, clock=clock, fresh_seconds=fresh_seconds)


@pytest.fixture
def policies(documents: WatchedDocuments, log: WatchedLog, clock: FakeClock) -> Policies:
    return another_instance(documents, log, clock)


async def until_idle() -> None:
    """Let every task run up to what it waits for."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_caller_gets_the_plan_of_their_cohort(policies: Policies, documents: WatchedDocuments) -> None:
    """Without the owner naming anybody."""
    documents.documents["plans/anonymous"] = msgspec.to_builtins(make_plan(burst=1))

    assert await policies.for_caller(ALICE) == Policy(plan=GENEROUS, plan_name="free", config=OPEN_CONFIG)
    assert (await policies.for_caller(NOBODY)).plan.burst == 1


async def test_a_users_own_plan_goes_before_the_cohorts(policies: Policies, documents: WatchedDocuments) -> None:
    """The owner named it for this one."""
    documents.documents["plans/pro"] = msgspec.to_builtins(make_plan(burst=77))
    documents.documents["users/alice"] = {"plan": "pro"}

    policy = await policies.for_caller(ALICE)

    assert (policy.plan_name, policy.plan.burst) == ("pro", 77)


async def test_an_override_changes_one_limit_of_one_user(policies: Policies, documents: WatchedDocuments) -> None:
    """And nobody else's."""
    documents.documents["users/alice"] = {"overrides": {"requests_per_day": 7}}

    assert (await policies.for_caller(ALICE)).plan == make_plan(requests_per_day=7)
    assert (await policies.for_caller(BOB)).plan == GENEROUS


async def test_a_disabled_user_is_refused(policies: Policies, documents: WatchedDocuments) -> None:
    """Whatever plan they have."""
    documents.documents["users/alice"] = {"disabled": True, "plan": "free"}

    with pytest.raises(ForbiddenError, match="disabled"):
        await policies.for_caller(ALICE)


async def test_a_cohort_without_a_plan_is_refused(policies: Policies, documents: WatchedDocuments) -> None:
    """What is not said is not allowed."""
    config = msgspec.structs.replace(STARTER_CONFIG, plans={Cohort.VERIFIED: "free"})
    documents.documents["gate/config"] = msgspec.to_builtins(config)

    with pytest.raises(ForbiddenError, match="anonymous"):
        await policies.for_caller(NOBODY)


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        pytest.param("gate/config", "twohop init", id="config"),
        pytest.param("plans/free", "twohop plan set free", id="plan"),
    ],
)
async def test_what_is_missing_is_named_with_the_remedy(
    policies: Policies, documents: WatchedDocuments, path: str, remedy: str
) -> None:
    """No plan, no service: and the operator reads what to type."""
    del documents.documents[path]

    with pytest.raises(PolicyError, match=remedy) as refusal:
        await policies.for_caller(ALICE)

    assert path in str(refusal.value)
    assert path not in refusal.value.public_message


@pytest.mark.parametrize(
    ("path", "edit"),
    [
        pytest.param("users/alice", {"disabled": True}, id="disabled"),
        pytest.param("plans/free", None, id="plan-deleted"),
        pytest.param("gate/config", None, id="config-deleted"),
    ],
)
async def test_an_edit_is_in_force_after_the_bound_and_not_read_before(
    policies: Policies, documents: WatchedDocuments, clock: FakeClock, path: str, edit: dict[str, Any] | None
) -> None:
    """The bound is what the owner is promised, and what admission saves its reads by."""
    await policies.for_caller(ALICE)
    if edit is None:
        del documents.documents[path]
    else:
        documents.documents[path] = edit
    reads = len(documents.reads)

    clock.advance(seconds=FRESH_SECONDS - 0.000001)
    await policies.for_caller(ALICE)
    assert len(documents.reads) == reads

    clock.advance(seconds=0.000001)
    with pytest.raises((ForbiddenError, PolicyError)):
        await policies.for_caller(ALICE)


async def test_the_bound_counts_from_before_the_read(
    policies: Policies, documents: WatchedDocuments, clock: FakeClock
) -> None:
    """A slow read must not make an old value look new."""
    documents.let_go.clear()
    asking = asyncio.ensure_future(policies.for_caller(ALICE))
    await until_idle()
    clock.advance(seconds=FRESH_SECONDS)
    documents.let_go.set()
    await asking
    documents.documents["users/alice"] = {"disabled": True}

    with pytest.raises(ForbiddenError):
        await policies.for_caller(ALICE)


async def test_nobody_joins_a_read_that_is_older_than_the_bound(
    policies: Policies, documents: WatchedDocuments, clock: FakeClock
) -> None:
    """A read that hangs may have looked before the edit, and must not answer those who ask long after it."""
    documents.let_go.clear()
    first = asyncio.ensure_future(policies.for_caller(ALICE))
    await until_idle()
    documents.documents["users/alice"] = {"disabled": True}
    clock.advance(seconds=FRESH_SECONDS + 1)
    second = asyncio.ensure_future(policies.for_caller(ALICE))
    await until_idle()
    documents.let_go.set()
    await first

    with pytest.raises(ForbiddenError):
        await second


async def test_a_late_read_does_not_replace_a_newer_one(
    policies: Policies, documents: WatchedDocuments, clock: FakeClock
) -> None:
    """Reads may overtake one another; what was asked for last is what counts."""
    open_door, documents.let_go = documents.let_go, asyncio.Event()
    held_up = documents.let_go
    first = asyncio.ensure_future(policies.for_caller(ALICE))
    await until_idle()
    documents.let_go = open_door
    documents.documents["users/alice"] = {"disabled": True}
    clock.advance(seconds=FRESH_SECONDS + 1)
    with pytest.raises(ForbiddenError):
        await policies.for_caller(ALICE)
    held_up.set()
    await first

    reads = len(documents.reads)
    with pytest.raises(ForbiddenError):
        await policies.for_caller(ALICE)
    assert len(documents.reads) == reads


async def test_no_bound_at_all_reads_each_time(
    documents: WatchedDocuments, log: WatchedLog, clock: FakeClock
) -> None:
    """For an owner who wants every edit at once, and pays the reads."""
    policies = another_instance(documents, log, clock, fresh_seconds=0)
    await policies.for_caller(ALICE)
    documents.documents["users/alice"] = {"disabled": True}

    with pytest.raises(ForbiddenError):
        await policies.for_caller(ALICE)


async def test_a_hundred_who_ask_at_once_read_once(policies: Policies, documents: WatchedDocuments) -> None:
    """One read of each document, however many calls a cold start meets."""
    policy = await asyncio.gather(*(policies.for_caller(ALICE) for _ in range(100)))

    assert len(set(map(id, (one.plan for one in policy)))) == 1
    assert sorted(documents.reads) == ["gate/config", "plans/free", "users/alice"]


async def test_what_the_first_caller_needs_is_read_before_they_are_known(
    policies: Policies, documents: WatchedDocuments
) -> None:
    """Their token is verified meanwhile; then what is missing is asked for at once."""
    policies.read_ahead()
    policies.read_ahead()
    await until_idle()
    ahead = list(documents.reads)
    documents.let_go.clear()
    policies.expect(ALICE)
    await until_idle()
    at_once = sorted(documents.reads[len(ahead) :])
    documents.let_go.set()

    assert (await policies.for_caller(ALICE)).plan == GENEROUS
    assert ahead == ["gate/config"]
    assert at_once == ["plans/free", "users/alice"]
    assert len(documents.reads) == 3


async def test_the_plan_of_the_first_caller_is_read_when_the_configuration_names_it(
    policies: Policies, documents: WatchedDocuments
) -> None:
    """It waits for no document of theirs, which is asked for at the same time as the configuration."""
    documents.let_go.clear()
    policies.read_ahead()
    reading = asyncio.ensure_future(policies.read_ahead_for(ALICE))
    await until_idle()
    at_once = sorted(documents.reads)
    documents.let_go.set()
    await reading
    await until_idle()

    assert (await policies.for_caller(ALICE)).plan == GENEROUS
    assert at_once == ["gate/config", "users/alice"]
    assert sorted(documents.reads) == ["gate/config", "plans/free", "users/alice"]


async def test_what_cannot_be_read_ahead_is_read_when_it_is_asked_for(
    policies: Policies, documents: WatchedDocuments
) -> None:
    """A store that was away for a moment refuses nobody later."""
    documents.failing = True
    policies.read_ahead()
    await until_idle()
    documents.failing = False

    assert (await policies.for_caller(ALICE)).plan == GENEROUS


async def test_who_is_cancelled_does_not_cancel_the_others_read(
    policies: Policies, documents: WatchedDocuments
) -> None:
    """They share it, and each may go away."""
    documents.let_go.clear()
    first, second = (asyncio.ensure_future(policies.for_caller(ALICE)) for _ in range(2))
    await until_idle()
    first.cancel()
    documents.let_go.set()

    assert (await second).plan == GENEROUS
    assert sorted(documents.reads) == ["gate/config", "plans/free", "users/alice"]


@pytest.mark.parametrize(
    ("path", "malformed"),
    [
        pytest.param("plans/free", BAD_PLAN, id="plan"),
        pytest.param("gate/config", {"budget_shards": 0}, id="config"),
    ],
)
async def test_a_malformed_edit_leaves_the_last_good_value_in_force(
    policies: Policies, documents: WatchedDocuments, clock: FakeClock, path: str, malformed: dict[str, Any]
) -> None:
    """A typing error in the console neither opens the service nor closes it."""
    before = await policies.for_caller(ALICE)
    documents.documents[path] = malformed

    for _ in range(3):
        clock.advance(seconds=FRESH_SECONDS)
        assert await policies.for_caller(ALICE) == before


async def test_a_malformed_edit_of_a_user_leaves_the_last_good_one_in_force(
    policies: Policies, documents: WatchedDocuments, clock: FakeClock
) -> None:
    """Who is disabled stays disabled."""
    documents.documents["users/alice"] = {"disabled": True}
    with pytest.raises(ForbiddenError):
        await policies.for_caller(ALICE)
    documents.documents["users/alice"] = {"disabled": "no"}
    clock.advance(seconds=FRESH_SECONDS)

    with pytest.raises(ForbiddenError):
        await policies.for_caller(ALICE)


async def test_a_first_document_of_a_user_that_is_malformed_refuses(
    policies: Policies, documents: WatchedDocuments, clock: FakeClock
) -> None:
    """Somebody meant to say something about this user, and nobody knows what."""
    await policies.for_caller(ALICE)
    documents.documents["users/alice"] = {"disabled": "yes"}
    clock.advance(seconds=FRESH_SECONDS)

    with pytest.raises(PolicyError, match="users/alice"):
        await policies.for_caller(ALICE)


async def test_a_malformed_override_refuses_and_is_told(
    policies: Policies, documents: WatchedDocuments, log: WatchedLog
) -> None:
    """The user has no plan until the owner corrects it."""
    documents.documents["users/alice"] = {"overrides": {"requests_per_dya": 7}}

    with pytest.raises(PolicyError, match="users/alice"):
        await policies.for_caller(ALICE)

    assert [line["document"] for line in log.lines("policy.malformed")] == ["users/alice"]


async def test_the_operator_is_told_once_of_each_way_to_be_malformed(
    policies: Policies, documents: WatchedDocuments, log: WatchedLog, clock: FakeClock
) -> None:
    """An alert at each read would be no alert; a new mistake is news, and so is an old one that came back."""
    good = documents.documents["plans/free"]
    edits: list[dict[str, Any]] = [BAD_PLAN, BAD_PLAN, {"burst": 0}, good, {"burst": 0}]
    await policies.for_caller(ALICE)

    told = []
    for edit in edits:
        documents.documents["plans/free"] = edit
        clock.advance(seconds=FRESH_SECONDS)
        await policies.for_caller(ALICE)
        told.append(len(log.lines("policy.malformed")))

    assert told == [1, 1, 2, 2, 3]
    assert {line["document"] for line in log.lines("policy.malformed")} == {"plans/free"}


@pytest.mark.parametrize(
    ("path", "malformed"),
    [
        pytest.param("plans/free", BAD_PLAN, id="plan"),
        pytest.param("gate/config", {"budget_shards": 0}, id="config"),
    ],
)
async def test_an_instance_that_starts_after_a_bad_edit_uses_the_kept_copy(
    policies: Policies,
    documents: WatchedDocuments,
    log: WatchedLog,
    clock: FakeClock,
    path: str,
    malformed: dict[str, Any],
) -> None:
    """It has no memory of its own of what was good."""
    before = await policies.for_caller(ALICE)
    await policies.keep_good()
    documents.documents[path] = malformed
    await policies.keep_good()

    assert await another_instance(documents, log, clock).for_caller(ALICE) == before


async def test_an_instance_with_no_good_copy_refuses(
    documents: WatchedDocuments, policies: Policies, log: WatchedLog
) -> None:
    """There is nothing to go by, so nothing is spent; and the operator knows."""
    documents.documents["plans/free"] = BAD_PLAN

    with pytest.raises(PolicyError, match="plans/free is malformed"):
        await policies.for_caller(ALICE)

    assert len(log.lines("policy.malformed")) == 1


async def test_keeping_writes_only_what_changed(policies: Policies, documents: WatchedDocuments) -> None:
    """It runs every few minutes, for ever."""
    await policies.keep_good()
    assert sorted(documents.writes) == ["last_good/gate.config", "last_good/plans.anonymous", "last_good/plans.free"]

    await policies.keep_good()
    assert len(documents.writes) == 3

    documents.documents["plans/free"] = msgspec.to_builtins(make_plan(burst=2))
    await policies.keep_good()
    assert documents.writes[3:] == ["last_good/plans.free"]


async def test_keeping_without_any_document_is_fine(log: WatchedLog, clock: FakeClock) -> None:
    """The sweeper may run before the owner's first `twohop init`."""
    documents = WatchedDocuments()

    await another_instance(documents, log, clock).keep_good()

    assert documents.writes == []


async def test_a_failing_read_is_told_and_not_remembered(policies: Policies, documents: WatchedDocuments) -> None:
    """No documents, no spending; and the next call tries again."""
    documents.failing = True
    with pytest.raises(LedgerError):
        await policies.for_caller(ALICE)
    documents.failing = False

    assert (await policies.for_caller(ALICE)).plan == GENEROUS


async def test_a_store_that_fails_later_refuses_once_the_value_is_old(
    policies: Policies, documents: WatchedDocuments, clock: FakeClock
) -> None:
    """Up to the bound the cache serves; after it, an edit may have happened that nobody could see."""
    await policies.for_caller(ALICE)
    documents.failing = True
    await policies.for_caller(ALICE)
    clock.advance(seconds=FRESH_SECONDS)

    with pytest.raises(LedgerError):
        await policies.for_caller(ALICE)


async def test_a_raised_limit_needs_no_new_instance(
    policies: Policies, documents: WatchedDocuments, clock: FakeClock
) -> None:
    """The budget is read like the rest."""
    await policies.for_caller(ALICE)
    documents.documents["gate/config"] = msgspec.to_builtins(make_config(budget_microdollars_per_day=5))
    clock.advance(seconds=FRESH_SECONDS)

    assert (await policies.for_caller(ALICE)).config.budget_microdollars_per_day == 5
