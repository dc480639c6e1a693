"""The device: which it is, and its failures told apart: what a smaller batch may mend, and what nothing can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from worker.errors import BrokenDeviceError, OutOfMemoryError


@contextmanager
def device_errors() -> Iterator[None]:
    """Translate what torch raises about its device.

    Raises:
        OutOfMemoryError: there is not enough memory for what was asked.
        BrokenDeviceError: the CUDA context is gone.
    """
    import torch  # seconds

    try:
        yield
    except torch.OutOfMemoryError as exc:
        torch.cuda.empty_cache()
        raise OutOfMemoryError(str(exc)) from exc
    except torch.AcceleratorError as exc:
        raise BrokenDeviceError(str(exc)) from exc
    except RuntimeError as exc:
        # The CPU's allocator has no exception of its own.
        if "can't allocate memory" in str(exc):
            raise OutOfMemoryError(str(exc)) from exc
        raise


def best_device() -> str:
    """Return the device to compute on: a GPU where there is one."""
    import torch  # seconds

    return "cuda" if torch.cuda.is_available() else "cpu"
