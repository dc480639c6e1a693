"""RunPod's management API over a transport, as its OpenAPI document describes it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import httpx

from tests.providers.hosts import API_KEY, ENDPOINT, HttpDouble

CONTROL_KEY = "rpa_THE0CONTROL0KEY"
SUMMARY = {"running": 0, "idle": 1, "initializing": 0, "throttled": 0, "unhealthy": 0, "total": 1}


class RunPodAccount(HttpDouble):
    """One account with one endpoint."""

    def __init__(self) -> None:
        super().__init__(self._serve)
        self.workers = {"min": 0, "max": 3, "idleTimeout": 5}
        self.summary: dict[str, Any] = dict(SUMMARY)
        self.queued = 2
        self.hourly_dollars = 0.576

    def _serve(self, request: httpx.Request) -> httpx.Response:
        path, key = request.url.path, request.headers.get("authorization")
        if path == f"/v2/{ENDPOINT}/purge-queue":
            return self._purge() if key == f"Bearer {API_KEY}" else httpx.Response(401)
        if key != f"Bearer {CONTROL_KEY}":
            return httpx.Response(403, json={"code": "FORBIDDEN", "message": f"no {key}"})
        match request.method, path:
            case "GET", p if p == f"/v2/serverless/{ENDPOINT}":
                return httpx.Response(200, json=self._endpoint())
            case "PATCH", p if p == f"/v2/serverless/{ENDPOINT}":
                self.workers |= json.loads(request.content)["workers"]
                return httpx.Response(200, json=self._endpoint())
            case "GET", p if p == f"/v2/serverless/{ENDPOINT}/workers":
                return httpx.Response(200, json={"workers": [], "summary": self.summary})
            case "GET", "/v2/billing/serverless":
                return httpx.Response(200, json={"records": self._records(request.url.params), "metadata": {}})
            case "POST", "/graphql":
                return httpx.Response(200, json={"data": {"myself": {"clientBalance": 12.5}}})
        return httpx.Response(404)

    def _purge(self) -> httpx.Response:
        removed, self.queued = self.queued, 0
        return httpx.Response(200, json={"removed": removed, "status": "completed"})

    def _endpoint(self) -> dict[str, Any]:
        return {"id": ENDPOINT, "name": "model", "workers": self.workers}

    def _records(self, query: httpx.QueryParams) -> list[dict[str, Any]]:
        assert query["bucketSize"] == "hour"
        assert query["serverlessId"] == ENDPOINT
        at, until = (datetime.fromisoformat(query[name]) for name in ("startTime", "endTime"))
        records: list[dict[str, Any]] = []
        while at < until:
            ends = at + timedelta(hours=1)
            amounts = {"gpuAmount": self.hourly_dollars, "cpuAmount": 0.0, "diskAmount": 0.0, "feeAmount": 0.01}
            times = {"startTime": at.isoformat(), "endTime": ends.isoformat()}
            total = {"totalAmount": self.hourly_dollars + 0.01}
            records.insert(0, {**times, **amounts, **total, "serverlessId": ENDPOINT})
            at = ends
        return records
