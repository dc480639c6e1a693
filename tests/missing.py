"""What a test needs and a machine may lack: skipped there with a reason that a summary can collect, failed in CI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

LEFT_OUT = "LEFT OUT: "


def missing(what: str, remedy: str) -> NoReturn:
    """Skip the test, saying what is missing and how to get it. With CI=true, where all should be there, fail it."""
    reason = f"{LEFT_OUT}{what}. {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
