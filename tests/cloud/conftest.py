"""Tests of the cloud's contracts run on its own clock, which jumps; the others choose for themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from twohop.cloud.virtual import VirtualLoop


@pytest.hookimpl(tryfirst=True)
def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualLoop}
