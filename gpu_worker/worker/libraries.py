"""What the large libraries are spared while they load: a collector that finds nothing, and habits that cost time."""

from __future__ import annotations

import gc
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

_TOLD = {
    # A thread that spins while it waits for another keeps that one from running where there are fewer cores than
    # threads: on a machine with other work, or in a container that may use a part of it.
    "OMP_WAIT_POLICY": "PASSIVE",
    # The worker's devices are torch's own: it need not search all installed packages for others.
    "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
}


def tell_libraries(env: MutableMapping[str, str], *, cores_max: int | None) -> None:
    """Add what they read when they are imported to the environment, unless the owner says otherwise there.

    Args:
        env: of this process.
        cores_max: whose time it may use; None if all that it sees.
    """
    # More threads than that would stop together, and often, each time the container's time is used up.
    threads = {} if cores_max is None else {"OMP_NUM_THREADS": str(cores_max)}
    for name, value in (_TOLD | threads).items():
        env.setdefault(name, value)


@contextmanager
def uncollected() -> Iterator[None]:
    """Have no garbage collected within the context, and nothing looked through later that was made in it.

    torch makes a quarter of a million objects that live for ever. To look for garbage among them takes a tenth of a
    start, again and again, and finds next to none.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
