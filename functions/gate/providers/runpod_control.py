"""RunPod's management API, version 2: workers, their bounds, and the bill.

The purge goes to the job API, whose key is the endpoint's own. The rest needs a key of the account that may change
this endpoint: RUNPOD_CONTROL_KEY, so that the key that travels with every job can do no more than run jobs.
Source: RunPod's OpenAPI document, "Runpod REST API", version 2.0.0; the balance is in GraphQL alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from gate.control import BillingRecord, Capacity
from gate.errors import ProviderError, ProviderRejectedError, ProviderTimeoutError, ProviderUnavailableError
from gate.exchanges import Exchanges
from gate.providers._addresses import checked_address
from gate.providers._http import Answer, Ask, HttpHost, Sleep, header_text
from gate.providers._runpod_account import balance_of, billing_of, capacity_of
from gate.providers.runpod import BASE_URL, checked_endpoint, endpoint_of
from gate.settings import Settings

CONTROL_URL = "https://api.runpod.io"

_ANSWER_SECONDS = 15.0
_PATIENCE_SECONDS = 4.0
_BYTES_OUT_MAX = 5_000_000
_BALANCE = json.dumps({"query": "query { myself { clientBalance } }"}).encode()
_REMEDIES = {
    400: "this version of Twohop sends what RunPod does not take",
    401: "RunPod does not know the key; is RUNPOD_CONTROL_KEY right?",
    403: "the key may not do this; set RUNPOD_CONTROL_KEY to one that may change the endpoint and read the bill",
    404: "there is no endpoint RUNPOD_ENDPOINT_ID, or it is another account's",
}


class RunPodControl:
    """A `ProviderControl` of one RunPod endpoint.

    Args:
        endpoint_id: the serverless endpoint's.
        api_key: of the job API.
        control_key: of the management API; the same one if None.
        base_url: of the job API.
        control_url: of the management API.
        exchanges: another way to send requests.
        sleep: another way to wait.

    Raises:
        SettingsError: one of them cannot be right.
    """

    def __init__(
        self,
        *,
        endpoint_id: str,
        api_key: str,
        control_key: str | None = None,
        base_url: str = BASE_URL,
        control_url: str = CONTROL_URL,
        exchanges: Exchanges | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._endpoint_id = checked_endpoint(endpoint_id)
        self._jobs_url = f"{_address(base_url, 'RUNPOD_URL')}/{endpoint_id}"
        self._jobs_key = header_text("RUNPOD_API_KEY", api_key)
        self._url = _address(control_url, "RUNPOD_CONTROL_URL")
        self._key = header_text("RUNPOD_CONTROL_KEY", control_key or api_key)
        self._http = HttpHost(name="runpod", bytes_out_max=_BYTES_OUT_MAX, exchanges=exchanges, sleep=sleep)

    @classmethod
    def from_settings(cls, settings: Settings) -> RunPodControl:
        """Read RUNPOD_ENDPOINT_ID, RUNPOD_API_KEY, RUNPOD_CONTROL_KEY and the two addresses.

        Raises:
            SettingsError: one of them is missing or cannot be right.
        """
        read = settings.environment
        return cls(
            **endpoint_of(read),
            control_key=read.secret("RUNPOD_CONTROL_KEY").reveal() or None,
            control_url=read.text("RUNPOD_CONTROL_URL", CONTROL_URL),
        )

    async def capacity(self) -> Capacity:
        """See `ProviderControl.capacity`."""
        endpoint, workers = await asyncio.gather(
            self._get(f"/v2/serverless/{self._endpoint_id}"),
            self._get(f"/v2/serverless/{self._endpoint_id}/workers"),
        )
        return capacity_of(endpoint, workers)

    async def set_capacity(self, *, workers_min: int, workers_max: int) -> None:
        """See `ProviderControl.set_capacity`."""
        body = {"workers": {"min": workers_min, "max": workers_max}}
        await self._ask("PATCH", f"{self._url}/v2/serverless/{self._endpoint_id}", json.dumps(body).encode())

    async def purge_queue(self) -> int:
        """See `ProviderControl.purge_queue`."""
        answer = await self._ask("POST", f"{self._jobs_url}/purge-queue", key=self._jobs_key)
        removed = answer.get("removed") if isinstance(answer, dict) else None
        return removed if type(removed) is int else 0

    async def billing(self, *, since: datetime, until: datetime) -> list[BillingRecord]:
        """See `ProviderControl.billing`. The spans are RunPod's hours; the bill is some five minutes late."""
        query = {
            "startTime": _rfc3339(since.replace(minute=0, second=0, microsecond=0)),
            "endTime": _rfc3339(_next_hour(until)),
            "bucketSize": "hour",
            "serverlessId": self._endpoint_id,
        }
        return billing_of(await self._get(f"/v2/billing/serverless?{urlencode(query)}"))

    async def balance_microdollars(self) -> int | None:
        """See `ProviderControl.balance_microdollars`."""
        return balance_of(await self._ask("POST", f"{self._url}/graphql", _BALANCE))

    async def close(self) -> None:
        """See `ProviderControl.close`."""
        await self._http.close()

    async def _get(self, path: str) -> Any:
        return await self._ask("GET", self._url + path)

    async def _ask(self, method: str, url: str, body: bytes = b"", *, key: str | None = None) -> Any:
        headers: Mapping[str, str] = {
            "authorization": f"Bearer {key or self._key}",
            "content-type": "application/json",
        }
        ask = Ask(method=method, url=url, headers=headers, body=body)
        answer = await self._http.ask(lambda: ask, read_seconds=_ANSWER_SECONDS, patience_seconds=_PATIENCE_SECONDS)
        if not answer.ok:
            raise _refusal(answer)
        try:
            return answer.json()
        except ValueError as exc:
            raise ProviderTimeoutError(f"runpod: HTTP {answer.status} with an answer that is no JSON") from exc


def _refusal(answer: Answer) -> ProviderError:
    if answer.status == 429 or answer.status >= 500:
        retry = answer.retry_hint_seconds
        return ProviderUnavailableError(f"runpod: HTTP {answer.status}", retry_after_seconds=retry)
    remedy = _REMEDIES.get(answer.status, _REMEDIES[400])
    return ProviderRejectedError(f"runpod: HTTP {answer.status}; {remedy}")


def _address(url: str, setting: str) -> str:
    return checked_address(url, setting=setting).geturl().rstrip("/")


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _next_hour(at: datetime) -> datetime:
    begun = at.replace(minute=0, second=0, microsecond=0)
    return begun if begun == at else begun + timedelta(hours=1)
