"""The ledger as rows of FOCUS 1.0, the FinOps Foundation's format for bills, so that other tools can read it.

One row is an hour of one model and one cohort; a day's overhead is a row of its own. Source of the columns:
focus.finops.org, version 1.0. Five columns come twice: the Foundation's validator asks for them by the names that
they had in the draft.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from gate.domain.job import Job, JobState
from gate.domain.limits import Periods
from gate.money import MICRODOLLARS_PER_DOLLAR

COLUMNS = (
    "AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd",
    "ChargePeriodStart", "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName",
    "CommitmentDiscountStatus", "CommitmentDiscountType", "ConsumedQuantity", "ConsumedUnit", "ContractedCost",
    "ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory",
    "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId", "RegionName", "ResourceId",
    "ResourceName", "ResourceType", "ServiceCategory", "ServiceName", "SkuId", "SkuPriceId", "SubAccountId",
    "SubAccountName", "Tags", "ChargeType", "InvoiceIssuer", "Provider", "Publisher", "ResourceID",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose bill it is."""

    billing_account: str
    """The project, or the ledger's file."""
    provider: str
    """Who runs the GPU."""


def rows(
    jobs: Iterable[Job], account: Account, *, overhead: Mapping[datetime, int] = MappingProxyType({})
) -> Iterator[dict[str, str]]:
    """Yield the rows of jobs that ended, oldest hour first, and of each day's overhead.

    Together they cost what the jobs were settled at, and what was counted as overhead.

    Args:
        jobs: of any state.
        account: whose bill it is.
        overhead: in micro-dollars, by the midnight that its day begins with.
    """
    hours: dict[tuple[datetime, str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        if job.state.final and job.state is not JobState.RELEASED:
            hour = job.held_at.replace(minute=0, second=0, microsecond=0)
            hours[hour, job.model, str(job.cohort)].append(job)
    for (hour, model, cohort), its in sorted(hours.items()):
        yield _row(hour, model, cohort, its, account)
    for midnight, microdollars in sorted(overhead.items()):
        yield _overhead_row(midnight, microdollars, account)


def _row(hour: datetime, model: str, cohort: str, jobs: list[Job], account: Account) -> dict[str, str]:
    seconds = f"{Decimal(sum(_paid_ms(job) for job in jobs)) / 1000:.3f}"
    cost = sum(job.settled_microdollars or 0 for job in jobs)
    return _charge(cost, account, begins=hour, ends=hour + timedelta(hours=1)) | {
        "ChargeCategory": "Usage",
        "ChargeType": "Usage",
        "ChargeDescription": f"{len(jobs)} jobs of {model} for {cohort} callers, as the ledger settled them",
        "ChargeFrequency": "Usage-Based",
        "ConsumedQuantity": seconds,
        "ConsumedUnit": "Seconds",
        "PricingQuantity": seconds,
        "PricingUnit": "Seconds",
        "PricingCategory": "Standard",
        "ResourceId": model,
        "ResourceID": model,
        "ResourceName": model,
        "ResourceType": "Model",
        "SkuId": f"{model}/gpu-second",
        "SkuPriceId": f"{model}/gpu-second/list",
        "Tags": json.dumps(_tags(jobs, cohort)),
    }


def _overhead_row(midnight: datetime, microdollars: int, account: Account) -> dict[str, str]:
    return _charge(microdollars, account, begins=midnight, ends=midnight + timedelta(days=1)) | {
        "ChargeCategory": "Adjustment",
        "ChargeType": "Adjustment",
        "ChargeDescription": f"{account.provider} billed it, and no job accounts for it",
        "ChargeFrequency": "One-Time",
        "SkuId": "overhead",
        "SkuPriceId": "overhead/bill",
    }


def _charge(microdollars: int, account: Account, *, begins: datetime, ends: datetime) -> dict[str, str]:
    """Return what every row has."""
    cost = f"{Decimal(microdollars) / MICRODOLLARS_PER_DOLLAR:.6f}"
    return dict.fromkeys(COLUMNS, "") | {
        "BilledCost": cost,
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "ListCost": cost,
        "BillingAccountId": account.billing_account,
        "BillingCurrency": "USD",
        "BillingPeriodStart": _time(begins.replace(day=1, hour=0)),
        "BillingPeriodEnd": _time(Periods.of(begins).month_ends),
        "ChargePeriodStart": _time(begins),
        "ChargePeriodEnd": _time(ends),
        "InvoiceIssuerName": account.provider,
        "ProviderName": account.provider,
        "PublisherName": account.provider,
        "InvoiceIssuer": account.provider,
        "Provider": account.provider,
        "Publisher": account.provider,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "Twohop",
    }


def _tags(jobs: list[Job], cohort: str) -> dict[str, str]:
    """Return what FOCUS has no column for; the parts of the time are in milliseconds."""
    spent = [job.spent for job in jobs if job.spent is not None]
    return {
        "cohort": cohort,
        "jobs": str(len(jobs)),
        "jobs_paid_in_full": str(len(jobs) - len(spent)),
        "useful_ms": str(sum(one.execution_ms for one in spent)),
        "start_ms": str(sum(one.start_ms for one in spent)),
        "idle_ms": str(sum(one.idle_ms or 0 for one in spent)),
    }


def _paid_ms(job: Job) -> int:
    spent = job.spent
    return spent.execution_ms + spent.start_ms + (spent.idle_ms or 0) if spent else job.held_gpu_ms


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
