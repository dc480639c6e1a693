"""Every `Provider` keeps the promises of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gate.errors import ProviderRejectedError, ProviderTimeoutError, ProviderUnavailableError
from gate.provider import Order, Part, Provider, ProviderState, ProviderUsage
from gate.providers.container import ContainerProvider
from gate.providers.local import LocalProvider
from gate.providers.runpod import RunPodProvider
from gate.providers.scripted import Act, ScriptedProvider
from tests.contract.provider_contract import ProviderContract
from tests.makers import FakeClock
from tests.providers.hosts import API_KEY, ENDPOINT, SECRET, URL, RunPodDouble, Sleeper, WorkerDouble


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class TestRunPodProvider(ProviderContract):
    @pytest.fixture
    def host(self) -> RunPodDouble:
        return RunPodDouble()

    @pytest.fixture
    def provider(self, host: RunPodDouble, clock: FakeClock) -> Provider:
        return RunPodProvider(
            endpoint_id=ENDPOINT,
            api_key=API_KEY,
            worker_secret=SECRET,
            clock=clock,
            exchanges=host.exchanges,
            sleep=Sleeper(clock),
        )


class TestRunPodProviderWithAQueue(TestRunPodProvider):
    """The job has not ended when `submit` returns."""

    @pytest.fixture
    def host(self) -> RunPodDouble:
        return RunPodDouble(polls=3)


class TestContainerProvider(ProviderContract):
    @pytest.fixture
    def host(self) -> WorkerDouble:
        return WorkerDouble()

    @pytest.fixture
    def provider(self, host: WorkerDouble, clock: FakeClock) -> Provider:
        return ContainerProvider(
            url=URL, worker_secret=SECRET, clock=_Ticking(clock), exchanges=host.exchanges, sleep=Sleeper(clock)
        )


class TestContainerProviderWithAKey(ProviderContract):
    @pytest.fixture
    def host(self) -> WorkerDouble:
        return WorkerDouble(bearer=True)

    @pytest.fixture
    def provider(self, host: WorkerDouble, clock: FakeClock) -> Provider:
        return ContainerProvider(
            url=URL,
            worker_secret=SECRET,
            clock=clock,
            auth="bearer",
            exchanges=host.exchanges,
            sleep=Sleeper(clock),
        )


class TestLocalProvider(ProviderContract):
    @pytest.fixture
    def host(self) -> WorkerDouble:
        return WorkerDouble()

    @pytest.fixture
    def provider(self, host: WorkerDouble, clock: FakeClock) -> Provider:
        return LocalProvider(
            url="http://127.0.0.1:8000",
            worker_secret=SECRET,
            clock=_Ticking(clock),
            exchanges=host.exchanges,
            sleep=Sleeper(clock),
        )


class ScriptedHost:
    """The script as a host."""

    took = (150, 900)

    def __init__(self) -> None:
        self.act = Act(usage=ProviderUsage(execution_ms=150, start_ms=900))
        self.webhooks: list[str | None] = []

    def finishes(self, outputs: Any) -> None:
        self.act = Act(outputs=outputs, usage=ProviderUsage(execution_ms=150, start_ms=900))

    @property
    def webhook(self) -> str | None:
        return self.webhooks[-1]

    def lasts(self, outputs: Any) -> None:
        self.finishes(outputs)
        self.act = replace(self.act, delay_seconds=0.05)

    def play(self, order: Order) -> Act:
        self.webhooks.append(order.webhook)
        return self.act

    def streams(self, texts: Sequence[str], *, outputs: Any) -> None:
        usage = ProviderUsage(execution_ms=150, start_ms=900)
        self.act = Act(outputs=outputs, usage=usage, parts=tuple(Part(text=text) for text in texts))

    def refuses_the_input(self, message: str) -> None:
        line = message.splitlines()[0][:300]
        self.act = Act(state=ProviderState.FAILED, failure_code="invalid-argument", failure_message=line)

    def crashes(self) -> None:
        self.act = Act(state=ProviderState.FAILED)

    def refuses_the_key(self) -> None:
        self.act = Act(error=ProviderRejectedError("scripted"))

    def is_away(self) -> None:
        self.act = Act(error=ProviderUnavailableError("scripted"))

    def never_answers(self) -> None:
        self.act = Act(error=ProviderTimeoutError("scripted"))


class TestScriptedProvider(ProviderContract):
    @pytest.fixture
    def host(self) -> ScriptedHost:
        return ScriptedHost()

    @pytest.fixture
    def provider(self, host: ScriptedHost, clock: FakeClock) -> Provider:
        return ScriptedProvider(otherwise=host.play, clock=clock)


class _Ticking:
    """A clock that moves a little whenever it is looked at, as real ones do: no two signatures are alike."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def now(self) -> Any:
        self._clock.advance(milliseconds=1)
        return self._clock.now()
