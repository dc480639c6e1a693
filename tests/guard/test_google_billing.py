"""The billing account is taken away only by the armed switch, by one documented request, and read back."""

from __future__ import annotations

import json

import httpx
import pytest

from gate.errors import ProviderError
from gate.guard.google_billing import Detach, GoogleBilling

ACCOUNT = "billingAccounts/012345-567890-ABCDEF"
URL = "https://cloudbilling.googleapis.com/v1/projects/an-app/billingInfo"


class Google:
    """The billing API of one project."""

    def __init__(self, *, account: str = ACCOUNT, obeys: bool = True, status: int = 200) -> None:
        self.account, self.obeys, self.status = account, obeys, status
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.method == "PUT" and self.obeys:
            self.account = json.loads(request.content)["billingAccountName"]
        return httpx.Response(self.status, json={"billingAccountName": self.account})

    def switch(self, mode: Detach) -> GoogleBilling:
        transport = httpx.MockTransport(self)
        return GoogleBilling(project="an-app", mode=mode, token=lambda: "a-token", transport=transport)


async def test_the_armed_switch_takes_it_away_and_reads_it_back() -> None:
    """An empty name is how Google says that."""
    google = Google()

    done = await google.switch(Detach.ARMED).detach()

    assert done == f"{ACCOUNT} was taken away from an-app"
    assert [(one.method, str(one.url)) for one in google.requests] == [("GET", URL), ("PUT", URL), ("GET", URL)]
    assert json.loads(google.requests[1].content) == {"billingAccountName": ""}
    assert {one.headers["authorization"] for one in google.requests} == {"Bearer a-token"}


async def test_a_dry_run_writes_nothing() -> None:
    """It is the default, and says what would be done."""
    google = Google()

    done = await google.switch(Detach.DRY_RUN).detach()

    assert done == f"dry run: an-app keeps {ACCOUNT}; DETACH_BILLING=armed would take it away"
    assert [one.method for one in google.requests] == ["GET"]


async def test_doing_it_twice_is_doing_it_once() -> None:
    """The ladder runs each minute."""
    google = Google(account="")

    assert await google.switch(Detach.ARMED).detach() == "an-app has no billing account"
    assert [one.method for one in google.requests] == ["GET"]


@pytest.mark.parametrize(
    ("google", "said"),
    [
        pytest.param(Google(obeys=False), "still has", id="not-obeyed"),
        pytest.param(Google(status=403), "roles/billing.projectManager", id="not-allowed"),
        pytest.param(Google(status=500), "500", id="away"),
    ],
)
async def test_what_is_not_seen_to_be_done_is_an_error(google: Google, said: str) -> None:
    """The ladder tries again by the next run."""
    with pytest.raises(ProviderError, match=said):
        await google.switch(Detach.ARMED).detach()
