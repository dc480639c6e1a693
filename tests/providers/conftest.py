"""A clock that a test moves, and a sleep that moves it: what the tests of a provider's wire begin with."""

from __future__ import annotations

import pytest

from tests.makers import FakeClock
from tests.providers.hosts import Sleeper


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sleeper(clock: FakeClock) -> Sleeper:
    return Sleeper(clock)
