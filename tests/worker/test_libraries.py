"""What the large libraries are spared while they load."""

from __future__ import annotations

import gc

import pytest

from worker.errors import ModelError
from worker.libraries import tell_libraries, uncollected


def test_the_owner_has_the_last_word_on_what_libraries_are_told() -> None:
    """A default is no reason to overrule somebody who knows their machine."""
    env = {"OMP_WAIT_POLICY": "ACTIVE"}

    tell_libraries(env, cores_max=2)

    assert env == {"OMP_WAIT_POLICY": "ACTIVE", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "OMP_NUM_THREADS": "2"}


def test_without_a_limit_the_libraries_count_the_cores() -> None:
    """They know better which of them are halves of one."""
    env: dict[str, str] = {}

    tell_libraries(env, cores_max=None)

    assert "OMP_NUM_THREADS" not in env


def test_garbage_is_collected_again_after_a_start_that_failed() -> None:
    """The worker would else grow from then on."""

    def start() -> None:
        with uncollected():
            assert not gc.isenabled()
            raise ModelError("it cannot be loaded")

    with pytest.raises(ModelError):
        start()

    assert gc.isenabled()


def test_what_was_loaded_is_not_looked_through_again() -> None:
    """A full collection would hold up everybody's job for as long as that takes."""
    try:
        with uncollected():
            loaded: list[list[int]] = [[] for _ in range(1_000)]

        assert not any(each is loaded for each in gc.get_objects())
    finally:
        gc.unfreeze()
