"""What RunPod's management API says, in the gate's words. An answer that lacks a number is never read as zero."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from gate.control import BillingRecord, Capacity
from gate.errors import ProviderTimeoutError

_MICRODOLLARS_PER_DOLLAR = 1_000_000


def capacity_of(endpoint: Any, workers: Any) -> Capacity:
    """Read an endpoint (`Endpoint`) and its workers (`ListEndpointWorkersResponse`).

    Raises:
        ProviderTimeoutError: a count is missing: how many workers there are is not known.
    """
    bounds, summary = _object(endpoint, "workers"), _object(workers, "summary")
    return Capacity(
        workers_min=_count(bounds, "min"),
        workers_max=_count(bounds, "max"),
        running=_count(summary, "running"),
        idle=_count(summary, "idle"),
        initializing=_count(summary, "initializing"),
        throttled=_count(summary, "throttled"),
        unhealthy=_count(summary, "unhealthy"),
    )


def billing_of(fields: Any) -> list[BillingRecord]:
    """Read a `ListServerlessBillingResponse`, oldest first.

    Raises:
        ProviderTimeoutError: it is none, or a record in it is none.
    """
    records = fields.get("records") if isinstance(fields, dict) else None
    if not isinstance(records, list):
        raise _unclear("records")
    return sorted(map(_record, records), key=lambda record: record.begins)


def balance_of(fields: Any) -> int:
    """Read what `query { myself { clientBalance } }` answers.

    Raises:
        ProviderTimeoutError: there is no balance in it.
    """
    return _microdollars(_object(_object(fields, "data"), "myself"), "clientBalance")


def _record(fields: Any) -> BillingRecord:
    if not isinstance(fields, dict):
        raise _unclear("records")
    return BillingRecord(
        begins=_time(fields, "startTime"),
        ends=_time(fields, "endTime"),
        microdollars=_microdollars(fields, "totalAmount"),
        fee_microdollars=_microdollars(fields, "feeAmount"),
    )


def _object(fields: Any, name: str) -> dict[str, Any]:
    value = fields.get(name) if isinstance(fields, dict) else None
    if not isinstance(value, dict):
        raise _unclear(name)
    return value


def _count(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if type(value) is not int or value < 0:
        raise _unclear(name)
    return value


def _microdollars(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _unclear(name)
    return round(value * _MICRODOLLARS_PER_DOLLAR)


def _time(fields: dict[str, Any], name: str) -> datetime:
    try:
        at = datetime.fromisoformat(fields[name])
    except (KeyError, TypeError, ValueError) as exc:
        raise _unclear(name) from exc
    if at.tzinfo is None:
        raise _unclear(name)
    return at


def _unclear(name: str) -> ProviderTimeoutError:
    return ProviderTimeoutError(f"runpod: the management API's answer has no {name!r} that can be read")
