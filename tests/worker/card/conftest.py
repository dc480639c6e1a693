"""Everything here needs a card. Where it is asked for and there is none, it fails; by default nobody asks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder: whoever adds a test cannot forget to."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.card)


@pytest.fixture(autouse=True)
def _card() -> None:
    if not torch.cuda.is_available():
        pytest.fail("no CUDA card here, and these tests are about one", pytrace=False)
