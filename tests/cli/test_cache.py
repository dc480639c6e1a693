"""Whose answers are given again."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Operator


def test_a_models_answers_are_kept_as_long_as_it_is_said(anywhere: Operator) -> None:
    """By the name that callers give it, in whatever case it was typed."""
    assert anywhere.reads("cache show") == {}
    assert anywhere.types("cache set all-MiniLM-L6-v2 3600").exit_code == 0
    assert anywhere.types("cache set other 60").exit_code == 0

    assert anywhere.reads("cache show") == {"all-minilm-l6-v2": 3600, "other": 60}
    assert "3,600" in anywhere.types("cache show").stdout


def test_zero_turns_it_off(operator: Operator) -> None:
    operator.types("cache set other 60")
    operator.types("cache set other 0")

    assert operator.reads("cache show") == {}
    assert operator.stored("gate/config")["budget_shards"] == 1


@pytest.mark.parametrize("seconds", ["-1", "2592001", "long"])
def test_a_time_that_cannot_be_is_refused(operator: Operator, seconds: str) -> None:
    assert operator.types(f"cache set other -- {seconds}").exit_code != 0
    assert operator.reads("cache show") == {}
