"""One worker's life, billed by every provider's own rules, beside a bill that was worked out by hand.

    10 s image ─ 20.5 s start ─ 3.2 s job ─ 60 s idle ─ end

The rates are those of the providers' pages, as the tables quote them; the arithmetic is in each row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest

from gate import prices
from gate.money import Tariff, gate_price, gpu_price
from gate.providers._runpod_json import job_of
from gate.steps.outcome import settlement_for
from tests.makers import make_job
from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.virtual import EPOCH, run_virtual
from twohop.cloud.worker import LoopTimers

PULL_MS, START_MS, EXECUTION_MS, IDLE_MS = 10_000, 20_500, 3_200, 60_000

BILLS = [
    # The download is free: 20.5 + 3.2 + 60 = 83.7 s, by the second 84 s x $0.00019
    pytest.param("runpod/AMPERE_24", "0.01596", id="runpod"),
    # 84 s x ($0.000306 + 2 x $0.0000131 + 16 x $0.00000222 = $0.00036772)
    pytest.param("modal/A10", "0.03088848", id="modal-with-its-processors"),
    # the same x 1.75 for a region, x 3 for not being interrupted
    pytest.param("modal/A10+region+non_preemptible", "0.16216452", id="modal-with-two-choices"),
    # 84 s x $4.50 / 3600
    pytest.param("fal/H200", "0.105", id="fal"),
    # 84 s x $1.74 / 3600
    pytest.param("beam/H100", "0.0406", id="beam"),
    # The download is billed: 93.7 s, by the second 94 s x $0.000225
    pytest.param("replicate/T4", "0.02115", id="replicate"),
    # 93.7 s, by 100 ms, x ($0.0001867 + 4 x $0.000018 + 16 x $0.000002 = $0.0002907)
    pytest.param("cloudrun/L4", "0.02723859", id="cloud-run-with-its-processors"),
    # 93.7 s, by the minute 2 min x $0.80 / 60
    pytest.param("huggingface/AWS_L4", "0.026667", id="hugging-face"),
    # By the hour: one
    pytest.param("gce/L4", "0.7068", id="a-machine-of-googles"),
    pytest.param("lambda/H100_PCIE", "3.29", id="a-machine-of-lambdas"),
    pytest.param("runpod-pod/A100", "1.79", id="a-pod"),
]


def work(_: Mapping[str, Any]) -> Work:
    return Work(execution_ms=EXECUTION_MS)


async def play(hardware: str) -> tuple[int, int]:
    """Return the bill of one job that came alone, and what the ledger says of it."""
    price = gpu_price(hardware, on=EPOCH.date())
    endpoint = Endpoint(pull_ms=PULL_MS, start_ms=START_MS, idle_ms=IDLE_MS)
    cloud = Cloud(timers=LoopTimers(), prices=[(0, price)], work=work, endpoint=endpoint)
    job = cloud.submit({})
    await asyncio.sleep(600)
    tariff = Tariff(
        gpu=price, gate=gate_price(on=EPOCH.date()), start_ms_max=60_000, idle_ms=IDLE_MS, pull_ms=PULL_MS
    )
    spent = settlement_for(job_of(job.to_json()), make_job(held_gpu_ms=90_000), tariff, wait_ms=0).spent
    assert spent is not None
    return cloud.spent_microdollars(), tariff.gpu_microdollars(spent)


@pytest.mark.parametrize(("hardware", "dollars"), BILLS)
def test_a_life_is_billed_as_by_hand_and_the_ledger_says_the_same(hardware: str, dollars: str) -> None:
    """Two ways of adding up, the cloud's and the ledger's, against a third one that is nobody's code."""
    microdollars = int((Decimal(dollars) * 1_000_000).to_integral_value(ROUND_CEILING))

    assert run_virtual(play(hardware)) == (microdollars, microdollars)


def test_every_provider_with_hardware_has_a_bill_here() -> None:
    """A table that nobody has worked out by hand is one that nobody has understood."""
    billed = {str(row.values[0]).partition("/")[0] for row in BILLS}

    assert billed == {name for name in prices.providers() if prices.load(name).skus}
