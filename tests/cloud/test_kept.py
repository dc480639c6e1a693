"""A bill outlives its cloud, hour by hour."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from gate.money import gpu_price
from twohop.cloud.account import billing_json
from twohop.cloud.cloud import Cloud, Work
from twohop.cloud.kept import keep_bill, take_up_bill
from twohop.cloud.virtual import EPOCH, run_virtual
from twohop.cloud.worker import LoopTimers

PRICE = gpu_price("runpod/AMPERE_16", on=EPOCH.date())
LATER = EPOCH + timedelta(hours=3)


def make_cloud() -> Cloud:
    def work(_: Mapping[str, Any]) -> Work:
        return Work(execution_ms=2_000)

    return Cloud(timers=LoopTimers(), prices=[(0.0, PRICE)], work=work)


def amounts(cloud: Cloud, epoch: Any) -> list[float]:
    until = EPOCH + timedelta(hours=4)
    bill = billing_json(cloud, "x", epoch, since=EPOCH, until=until, size="hour")
    return [record["totalAmount"] for record in bill["records"]]


def test_a_cloud_goes_on_with_the_bill_of_an_earlier_one(tmp_path: Path) -> None:
    """Each hour says what it said, and what comes is added. A worker that ran at the end was billed until then."""
    path = tmp_path / "bill.json"

    async def play() -> tuple[list[float], int, list[float], int]:
        first = make_cloud()
        first.submit({})
        await asyncio.sleep(12)
        keep_bill(first, path, epoch=EPOCH)
        before, spent = amounts(first, EPOCH), first.spent_microdollars()
        second = make_cloud()
        take_up_bill(second, path, epoch=LATER)
        return before, spent, amounts(second, LATER), second.spent_microdollars()

    before, spent, after, spent_after = run_virtual(play())

    assert (after, spent_after) == (before, spent)
    assert before[0] > 0
    assert before[1:] == [0, 0, 0]


def test_without_a_file_a_cloud_begins_at_nothing(tmp_path: Path) -> None:
    """The first time."""

    async def play() -> int:
        cloud = make_cloud()
        take_up_bill(cloud, tmp_path / "none.json", epoch=EPOCH)
        return cloud.spent_microdollars()

    assert run_virtual(play()) == 0
