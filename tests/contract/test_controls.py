"""Every `ProviderControl` keeps the promises of all of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gate.control import BillingRecord, Capacity, ProviderControl
from gate.errors import ProviderUnavailableError
from gate.providers.runpod_control import RunPodControl
from gate.providers.scripted_control import ScriptedControl
from tests.contract.control_contract import ControlContract
from tests.makers import NOON, FakeClock
from tests.providers.account import CONTROL_KEY, RunPodAccount
from tests.providers.hosts import API_KEY, ENDPOINT, Sleeper


class TestRunPodControl(ControlContract):
    @pytest.fixture
    def control(self) -> ProviderControl:
        return RunPodControl(
            endpoint_id=ENDPOINT,
            api_key=API_KEY,
            control_key=CONTROL_KEY,
            exchanges=RunPodAccount().exchanges,
            sleep=Sleeper(FakeClock()),
        )


class TestScriptedControl(ControlContract):
    @pytest.fixture
    def control(self) -> ScriptedControl:
        hours = [NOON - timedelta(hours=2), NOON - timedelta(hours=1)]
        bill = [BillingRecord(begins=at, ends=at + timedelta(hours=1), microdollars=576_000) for at in hours]
        return ScriptedControl(now=Capacity(workers_min=0, workers_max=3, idle=1), queued=2, records=bill)

    async def test_workers_end_some_time_after_the_maximum_is_zero(self, control: ScriptedControl) -> None:
        """As at a real provider: a kill has to read back more than once."""
        control.ends_after_reads = 2
        await control.set_capacity(workers_min=0, workers_max=0)

        assert [(await control.capacity()).alive for _ in range(3)] == [1, 1, 0]

    async def test_a_scripted_error_is_raised_once(self, control: ScriptedControl) -> None:
        control.errors.append(ProviderUnavailableError("scripted"))

        with pytest.raises(ProviderUnavailableError):
            await control.purge_queue()
        assert await control.purge_queue() == 2
