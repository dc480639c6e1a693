"""The device's failures told apart: what a smaller batch may mend, and what nothing can, which ends the worker."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from worker.errors import BrokenDeviceError, OutOfMemoryError

_NO_MEMORY = (
    "can't allocate memory",  # the CPU's allocator
    "not enough memory",  # the same on Windows
    "MPS backend out of memory",
    "Invalid buffer size",  # MPS, of more bytes than one of its buffers may have
    "CUDA error: out of memory",  # allocated beside torch's own allocator
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What is said by those that have no exception of their own for it."""
_LAST_WORDS_SECONDS = 3
"""Time for the jobs that wait to be told that another worker takes them."""
_EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""


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
    except MemoryError as exc:
        raise OutOfMemoryError(str(exc) or "the host's memory is exhausted") from exc
    except RuntimeError as exc:
        # Before the accelerator's other errors: to have been out of memory leaves its context whole.
        if isinstance(exc, torch.OutOfMemoryError) or any(said in str(exc) for said in _NO_MEMORY):
            empty_cache()
            raise OutOfMemoryError(str(exc)) from exc
        if isinstance(exc, torch.AcceleratorError):
            raise BrokenDeviceError(str(exc)) from exc
        raise


def empty_cache() -> None:
    """Give back what torch keeps of the device's memory for later; on a machine without one it does nothing."""
    import torch  # seconds

    torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def end_soon() -> None:
    """End this process in a moment and as a failure, whatever its threads are doing, so that its host replaces it."""
    timer = threading.Timer(_LAST_WORDS_SECONDS, os._exit, args=(_EXIT_CODE,))
    timer.daemon = True
    timer.start()
