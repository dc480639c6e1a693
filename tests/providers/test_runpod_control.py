"""The adapter of RunPod's management API: the requests on the wire, and what is made of the answers."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from gate.errors import ProviderError, ProviderRejectedError, ProviderUnavailableError, SettingsError
from gate.providers import open_control
from gate.providers.runpod_control import RunPodControl
from gate.settings import Settings
from tests.makers import NOON, FakeClock
from tests.providers.account import CONTROL_KEY, SUMMARY, RunPodAccount
from tests.providers.hosts import API_KEY, ENDPOINT, Sleeper


@pytest.fixture
def account() -> RunPodAccount:
    return RunPodAccount()


@pytest.fixture
def control(account: RunPodAccount) -> RunPodControl:
    return make_control(account)


def make_control(account: RunPodAccount, **options: Any) -> RunPodControl:
    given = {"endpoint_id": ENDPOINT, "api_key": API_KEY, "control_key": CONTROL_KEY, "exchanges": account.exchanges}
    return RunPodControl(**{**given, "sleep": Sleeper(FakeClock()), **options})


async def test_the_workers_are_set_by_a_patch_that_changes_nothing_else(
    control: RunPodControl, account: RunPodAccount
) -> None:
    """`UpdateEndpointRequest` leaves untouched what is not in it."""
    await control.set_capacity(workers_min=0, workers_max=0)

    request = account.requests[0]
    assert (request.method, str(request.url)) == ("PATCH", f"https://api.runpod.io/v2/serverless/{ENDPOINT}")
    assert json.loads(request.content) == {"workers": {"min": 0, "max": 0}}
    assert account.workers["idleTimeout"] == 5


async def test_each_key_goes_to_its_own_api(control: RunPodControl, account: RunPodAccount) -> None:
    """The key that travels with every job can do no more than run jobs."""
    await control.capacity()
    await control.purge_queue()

    *managing, purging = account.requests
    assert {request.headers["authorization"] for request in managing} == {f"Bearer {CONTROL_KEY}"}
    assert str(purging.url) == f"https://api.runpod.ai/v2/{ENDPOINT}/purge-queue"
    assert purging.headers["authorization"] == f"Bearer {API_KEY}"
    assert not any(API_KEY in str(request.url) or CONTROL_KEY in str(request.url) for request in account.requests)


async def test_the_bill_is_asked_for_by_whole_hours(control: RunPodControl, account: RunPodAccount) -> None:
    """RunPod widens a span to its buckets by itself; asking for whole ones leaves no doubt about which."""
    records = await control.billing(since=NOON - timedelta(minutes=90), until=NOON + timedelta(seconds=1))

    asked = account.requests[0].url.params
    assert (asked["startTime"], asked["endTime"]) == ("2026-11-21T10:00:00Z", "2026-11-21T13:00:00Z")
    assert [(record.microdollars, record.fee_microdollars) for record in records] == [(586_000, 10_000)] * 3


async def test_the_balance_is_in_graphql(control: RunPodControl, account: RunPodAccount) -> None:
    assert await control.balance_microdollars() == 12_500_000
    assert str(account.requests[0].url) == "https://api.runpod.io/graphql"


@pytest.mark.parametrize("missing", [name for name in SUMMARY if name != "total"])
async def test_a_count_that_is_missing_is_not_zero(
    control: RunPodControl, account: RunPodAccount, missing: str
) -> None:
    """A kill that reads zero workers out of nothing would leave them running."""
    account.summary.pop(missing)

    with pytest.raises(ProviderError, match=missing):
        await control.capacity()


@pytest.mark.parametrize("summary", [None, [], {"running": "0"}, {**SUMMARY, "idle": True}, {**SUMMARY, "idle": -1}])
async def test_rubbish_is_not_zero(control: RunPodControl, account: RunPodAccount, summary: Any) -> None:
    account.summary = summary

    with pytest.raises(ProviderError):
        await control.capacity()


@pytest.mark.parametrize(
    "record",
    [
        7,
        {},
        {"startTime": "soon", "endTime": "later", "totalAmount": 1.0, "feeAmount": 0.0},
        {"startTime": "2026-11-21T10:00:00", "endTime": "2026-11-21T11:00:00", "totalAmount": 1.0, "feeAmount": 0.0},
        {"startTime": "2026-11-21T10:00:00Z", "endTime": "2026-11-21T11:00:00Z", "totalAmount": "1", "feeAmount": 0},
    ],
    ids=["number", "empty", "words", "no time zone", "text"],
)
async def test_a_record_that_cannot_be_read_is_not_left_out(
    control: RunPodControl, account: RunPodAccount, record: Any
) -> None:
    """A bill that silently lacks an hour would look like a ledger that says too much."""
    account.script(httpx.Response(200, json={"records": [record], "metadata": {}}))

    with pytest.raises(ProviderError):
        await control.billing(since=NOON, until=NOON)


async def test_a_key_that_may_not_names_the_setting(account: RunPodAccount) -> None:
    control = make_control(account, control_key=None)

    with pytest.raises(ProviderRejectedError, match="RUNPOD_CONTROL_KEY") as caught:
        await control.capacity()
    assert API_KEY not in str(caught.value)


async def test_a_throttle_is_waited_for_and_then_told(account: RunPodAccount) -> None:
    account.script(httpx.Response(429, headers={"retry-after": "1"}))

    with pytest.raises(ProviderUnavailableError):
        await make_control(account).set_capacity(workers_min=0, workers_max=0)
    assert len(account.requests) == 4


def settings(**env: str) -> Settings:
    given = {"LEDGER": "sqlite", "SIGN_IN": "dev", "DEV_SIGN_IN_SECRET": "d" * 32, "WORKER_SECRET": "w" * 32}
    return Settings.from_env({**given, **env})


def test_a_container_has_no_control() -> None:
    """Its host's own console is where it is stopped."""
    assert open_control(settings(PROVIDER="container", CONTAINER_URL="https://host.example/infer")) is None


def test_runpod_has_switches_and_a_bill() -> None:
    found = open_control(settings(PROVIDER="runpod", RUNPOD_ENDPOINT_ID=ENDPOINT, RUNPOD_API_KEY=API_KEY))

    assert isinstance(found, RunPodControl)


def test_an_address_of_another_cloud_is_refused_when_deployed() -> None:
    """Jobs, and the owner's keys, would go there."""
    deployed = {"K_SERVICE": "infer", "K_REVISION": "infer-1-a", "GCLOUD_PROJECT": "p", "WORKER_SECRET": "w" * 32}

    with pytest.raises(SettingsError, match="RUNPOD_CONTROL_URL"):
        Settings.from_env({**deployed, "RUNPOD_CONTROL_URL": "http://127.0.0.1:1"})
