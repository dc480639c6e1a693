"""The preferred engine, and when another takes its place."""

from __future__ import annotations

import io
from unittest.mock import Mock

import pytest

from worker.engine import Engine
from worker.engines.preferred import PreferredEngine
from worker.errors import ModelError, NoDeviceError
from worker.log import EventLog


def loaded(failure: Exception) -> tuple[PreferredEngine, Mock, io.StringIO]:
    other, stream = Mock(spec=Engine), io.StringIO()
    first = Mock(spec=Engine, load=Mock(side_effect=failure))
    return PreferredEngine(first, lambda: other, log=EventLog(stream)), other, stream


def test_a_model_that_the_first_would_not_serve_exactly_is_served_by_the_other() -> None:
    """Exact and slower is better than not at all, and the log says which it is."""
    engine, other, stream = loaded(ModelError("an activation that it does not know"))

    engine.load()

    other.load.assert_called_once_with()
    assert "engine.not_preferred" in stream.getvalue()


def test_a_device_that_is_not_there_is_not_looked_for_twice() -> None:
    """The other engine would be imported for seconds to find the same, and the log would say it twice."""
    engine, other, stream = loaded(NoDeviceError("DEVICE=cuda: this machine has cpu"))

    with pytest.raises(NoDeviceError):
        engine.load()

    other.load.assert_not_called()
    assert not stream.getvalue()
