"""The account as RunPod's management API tells it: the endpoint, its workers, and the bill by the hour or the day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from twohop.cloud.bill import ms_since
from twohop.cloud.cloud import Cloud
from twohop.cloud.worker import FakeWorker

_MICRODOLLARS_PER_DOLLAR = 1_000_000
_STEP = {"hour": timedelta(hours=1), "day": timedelta(days=1)}


def endpoint_json(cloud: Cloud, endpoint_id: str, epoch: datetime) -> dict[str, Any]:
    """Return an `Endpoint`."""
    endpoint = cloud.endpoint
    workers = {"min": endpoint.workers_min, "max": endpoint.workers_max}
    return {
        "id": endpoint_id,
        "name": "model",
        "type": "QUEUE",
        "workers": {**workers, "idleTimeout": round(endpoint.idle_ms / 1000)},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": endpoint.scale_ms / 1000},
        "dataCenterIds": [],
        "networkVolumes": [],
        "timeout": 600_000,
        "flashboot": "OFF",
        "createdAt": _rfc3339(epoch),
    }


def workers_json(cloud: Cloud) -> dict[str, Any]:
    """Return a `ListEndpointWorkersResponse`."""
    count = cloud.count()
    workers = [_worker_json(cloud, worker) for worker in cloud.workers.values()]
    return {"workers": workers, "summary": {**count, "total": sum(count.values())}, "endpointVersion": 1}


def billing_json(
    cloud: Cloud, endpoint_id: str, epoch: datetime, *, since: datetime, until: datetime, size: str
) -> dict[str, Any]:
    """Return a `ListServerlessBillingResponse` in whole hours or days."""
    step = _STEP[size]
    begins = since.replace(minute=0, second=0, microsecond=0) if size == "hour" else _midnight(since)
    records, total = [], 0
    while begins < until:
        spent = _spent(cloud, epoch, begins + step) - _spent(cloud, epoch, begins)
        span = {"startTime": _rfc3339(begins), "endTime": _rfc3339(begins + step)}
        records.append({**span, **_amounts(spent), "serverlessId": endpoint_id})
        total += spent
        begins += step
    query = {"startTime": _rfc3339(since), "endTime": _rfc3339(until), "bucketSize": size}
    metadata = {
        "query": {**query, "serverlessId": endpoint_id},
        "recordCount": len(records),
        "uniqueServerlessCount": 1,
        "totals": _amounts(total),
    }
    return {"records": records, "metadata": metadata}


def balance_json(cloud: Cloud) -> dict[str, Any]:
    """Return what GraphQL's `myself { clientBalance }` says: what was paid in less the bill until now."""
    left = cloud.balance_microdollars - cloud.spent_microdollars()
    return {"data": {"myself": {"clientBalance": left / _MICRODOLLARS_PER_DOLLAR}}}


def _spent(cloud: Cloud, epoch: datetime, at: datetime) -> int:
    now_ms = cloud.timers.now_ms()
    return cloud.bill.microdollars(min(ms_since(epoch, at), now_ms))


def _amounts(microdollars: int) -> dict[str, float]:
    dollars = microdollars / _MICRODOLLARS_PER_DOLLAR
    nothing = {"cpuAmount": 0.0, "diskAmount": 0.0, "feeAmount": 0.0}
    return {"totalAmount": dollars, "gpuAmount": dollars, **nothing}


def _worker_json(cloud: Cloud, worker: FakeWorker) -> dict[str, Any]:
    status = "RUNNING" if worker.inside else "IDLE" if worker.ready else "INITIALIZING"
    return {
        "id": worker.worker_id,
        "status": status,
        "gpuCount": 1,
        "isStale": False,
        "version": 1,
        "uptimeSeconds": max(0, round((cloud.timers.now_ms() - worker.life.pulled_ms) / 1000)),
    }


def _midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
