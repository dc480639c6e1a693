"""Takes the billing account away from the Google Cloud project: the last switch there is, and it stops everything.

Without a billing account Google stops all that is not free, hop 1 with it, and may delete what it stored. So it only
says what it would do, unless DETACH_BILLING=armed; and it needs the role `roles/billing.projectManager`.
https://cloud.google.com/billing/docs/reference/rest/v1/projects/updateBillingInfo
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum

import httpx

from gate.errors import ProviderError

BASE_URL = "https://cloudbilling.googleapis.com/v1"
_SCOPE = "https://www.googleapis.com/auth/cloud-billing"
_SECONDS = 15.0


class Detach(StrEnum):
    """Whether the billing account is taken away at kill level 6."""

    DRY_RUN = "dry-run"
    ARMED = "armed"


class GoogleBilling:
    """A `BillingSwitch` of one project.

    Args:
        project: the project's id.
        mode: only the armed one changes anything.
        token: returns an access token; by default that of the machine this runs on.
        transport: another way to send requests.
    """

    def __init__(
        self,
        *,
        project: str,
        mode: Detach,
        token: Callable[[], str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = f"{BASE_URL}/projects/{project}/billingInfo"
        self._project = project
        self._mode = mode
        self._token = token or _own_token
        self._transport = transport

    async def detach(self) -> str:
        """See `BillingSwitch.detach`."""
        try:
            headers = {"authorization": f"Bearer {await asyncio.to_thread(self._token)}"}
            async with httpx.AsyncClient(timeout=_SECONDS, transport=self._transport, headers=headers) as client:
                return await self._detach(client)
        except (httpx.HTTPError, ValueError, OSError) as exc:
            raise ProviderError(f"Google's billing API: {type(exc).__name__}: {exc}") from exc

    async def _detach(self, client: httpx.AsyncClient) -> str:
        account = str(_checked(await client.get(self._url)).json().get("billingAccountName", ""))
        if not account:
            return f"{self._project} has no billing account"
        if self._mode is Detach.DRY_RUN:
            return f"dry run: {self._project} keeps {account}; DETACH_BILLING=armed would take it away"
        _checked(await client.put(self._url, json={"billingAccountName": ""}))
        left = _checked(await client.get(self._url)).json().get("billingAccountName", "")
        if left:
            raise ProviderError(f"{self._project} still has {left}")
        return f"{account} was taken away from {self._project}"


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code == 403:
        raise ProviderError("Google's billing API: 403; hop 1's service account needs roles/billing.projectManager")
    return answer.raise_for_status()


def _own_token() -> str:
    import google.auth
    import google.auth.exceptions
    import google.auth.transport.requests

    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
        credentials.refresh(google.auth.transport.requests.Request())  # type: ignore[no-untyped-call]  # untyped there
    except google.auth.exceptions.GoogleAuthError as exc:
        raise ProviderError(f"Google does not know who is asking: {exc}") from exc
    return str(credentials.token)
