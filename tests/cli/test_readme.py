"""The owner's commands in the README work as they are copied, one after the other, beside a ledger that is new."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.conftest import Operator

README = Path(__file__).resolve().parents[2] / "README.md"
ASKS_OR_TAKES_MINUTES = ("cost", "prove")
"""What these do is tried in tests of their own."""


def test_they_go_well_in_order(operator: Operator) -> None:
    """Whoever copies them has no plan but the first ones."""
    owning = README.read_text("utf-8").partition("## Owning it\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^    \.venv/bin/twohop (.*?) *(?:#.*)?$", owning, re.MULTILINE)
    tried = [line for line in lines if line.split()[0] not in ASKS_OR_TAKES_MINUTES]

    assert len(tried) > 10
    assert [line for line in tried if operator.types(line).exit_code] == []
