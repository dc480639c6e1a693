"""Makers of values that tests need: a clock to set, plans, jobs, holds."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from gate.domain import meter
from gate.domain.job import Job
from gate.domain.meter import Move
from gate.domain.model import ServedModel
from gate.domain.plan import Cohort, GateConfig, Plan
from gate.money import Tariff, gate_price, gpu_price
from gate.ports import Credentials
from gate.provider import Order

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)

_ids = itertools.count(1)


class FakeClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, now: datetime = NOON) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, **by: float) -> None:
        self._now += timedelta(**by)


GENEROUS = Plan(
    requests_per_minute=600_000,
    burst=100_000,
    requests_per_day=1_000_000,
    requests_per_month=1_000_000,
    concurrency=1_000_000,
    gpu_seconds_per_day=1_000_000,
    microdollars_per_day=10**12,
    microdollars_per_month=10**12,
    input_bytes_max=100_000,
    input_items_max=32,
    input_characters_max=10_000,
    models=("*",),
    tokens_max=100,
    token_seconds_max=366 * 86_400,
)
"""A plan that is in nobody's way, so that a test can tighten the one limit that it is about."""

OPEN_CONFIG = GateConfig(
    budget_microdollars_per_day=10**12,
    budget_microdollars_per_month=10**12,
    budget_shards=1,
    plans={Cohort.VERIFIED: "free", Cohort.ANONYMOUS: "anonymous"},
)


def make_plan(**changes: Any) -> Plan:
    return msgspec.structs.replace(GENEROUS, **changes)


def make_config(**changes: Any) -> GateConfig:
    return msgspec.structs.replace(OPEN_CONFIG, **changes)


def make_job(*, plan: Plan = GENEROUS, **changes: Any) -> Job:
    number = next(_ids)
    fields: dict[str, Any] = {
        "job_id": f"job-{number}",
        "caller": "alice",
        "cohort": Cohort.VERIFIED,
        "model": "all-minilm-l6-v2",
        "payload_digest": "d" * 64,
        "attempt": f"attempt-{number}",
        "held_microdollars": 1_000,
        "held_gpu_ms": 30_000,
        "emission_us": plan.emission_us,
        "shard": 0,
        "held_at": NOON,
        "expires_at": changes.get("held_at", NOON) + timedelta(minutes=5),
    }
    return Job(**{**fields, **changes})


def make_moves(job: Job, *, plan: Plan = GENEROUS, config: GateConfig = OPEN_CONFIG) -> tuple[Move, ...]:
    return meter.moves_to_hold(job, plan, config)


CREDENTIALS = Credentials(bearer="alice")
"""What the tests' stub verifier takes for alice."""


def make_documents(plan: Plan = GENEROUS, config: GateConfig = OPEN_CONFIG) -> dict[str, dict[str, Any]]:
    """Return the owner's documents by path, as an owner's store holds them: one plan for everybody."""
    documents = {"plans/free": plan, "plans/anonymous": plan, "gate/config": config}
    return {path: msgspec.json.decode(msgspec.json.encode(document)) for path, document in documents.items()}


def make_order(*, wait: timedelta = timedelta(seconds=60), **changes: Any) -> Order:
    fields: dict[str, Any] = {
        "job_id": f"job-{next(_ids)}",
        "body": b'{"model":"all-minilm-l6-v2","inputs":"hello","parameters":{}}',
        "execution_ms_max": 30_000,
        "expires_at": NOON + wait,
    }
    return Order(**{**fields, **changes})


def make_model(**changes: Any) -> ServedModel:
    """Return a model on RunPod's cheapest hardware. Its hold is 18 236 micro-dollars; `test_money` adds it up."""
    tariff = Tariff(
        gpu=gpu_price("runpod/AMPERE_16", on=NOON.date()),
        gate=gate_price(on=NOON.date()),
        start_ms_max=60_000,
        idle_ms=5_000,
    )
    fields: dict[str, Any] = {
        "name": "all-minilm-l6-v2",
        "tariff": tariff,
        "execution_ms_max": 30_000,
        "wait_ms_max": 120_000,
    }
    return ServedModel(**{**fields, **changes})
