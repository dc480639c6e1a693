"""Values as Firestore's REST API writes them: what goes in comes out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.ledgers._firestore_values import decoded, encoded, field_path

SIMPLE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.datetimes(timezones=st.just(UTC))
)
VALUES = st.recursive(SIMPLE, lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1), inner))


@given(VALUES)
def test_what_goes_in_comes_out(value: Any) -> None:
    """Whole numbers beyond what JSON's are exact for, and times to the microsecond, too."""
    assert decoded(encoded(value)) == value


def test_a_time_finer_than_a_microsecond_is_cut() -> None:
    assert decoded({"timestampValue": "2026-11-25T10:00:00.123456789Z"}) == datetime(
        2026, 11, 25, 10, 0, 0, 123456, UTC
    )


@pytest.mark.parametrize(
    ("path", "written"),
    [
        pytest.param(("days", "2026-11-21", "requests"), "days.`2026-11-21`.requests", id="day"),
        pytest.param(("a.b",), "`a.b`", id="dot"),
        pytest.param(("a`b\\c",), "`a\\`b\\\\c`", id="escaped"),
    ],
)
def test_names_that_need_quotes_have_them(path: tuple[str, ...], written: str) -> None:
    """A name with a dot would otherwise be a path."""
    assert field_path(path) == written
