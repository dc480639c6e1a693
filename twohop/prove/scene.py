"""What every drive has in common: a plan, a model with its prices, and the owner's documents."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from gate.domain.model import ServedModel
from gate.domain.plan import STARTER_PLANS
from gate.money import Tariff, gate_price, gpu_price
from twohop.cloud.virtual import EPOCH

SECRET = b"a-secret-of-the-proof-and-nothing-else"
PLAN = replace(
    STARTER_PLANS["free"],
    requests_per_minute=600_000,
    burst=100_000,
    requests_per_day=10**6,
    requests_per_month=10**6,
    concurrency=10**6,
    gpu_seconds_per_day=10**6,
    microdollars_per_day=10**12,
    microdollars_per_month=10**12,
    microdollars_per_hour=None,
)
"""In nobody's way: what limits here is the budget alone."""
MODEL = ServedModel(
    name="model",
    tariff=Tariff(
        gpu=gpu_price("runpod/HOPPER_141", on=EPOCH.date()),
        gate=gate_price(on=EPOCH.date()),
        start_ms_max=15_000,
        idle_ms=5_000,
    ),
    execution_ms_max=10_000,
    wait_ms_max=60_000,
)
QUICK_MODEL = replace(MODEL, execution_ms_max=3_000, wait_ms_max=2_000)
"""For what is driven in real time."""


async def write_documents(store: Any, *, budget: int, shards: int) -> None:
    """Write a plan for everybody, and a budget in micro-dollars."""
    await store.write("plans/free", msgspec.to_builtins(PLAN))
    config = {
        "budget_microdollars_per_day": budget,
        "budget_microdollars_per_month": budget,
        "budget_shards": shards,
        "plans": {"verified": "free"},
    }
    await store.write("gate/config", config)
