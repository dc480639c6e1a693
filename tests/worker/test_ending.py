"""A worker whose device has failed ends by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).parents[2] / "gpu_worker"


def test_it_ends_as_a_failure_though_its_threads_are_busy() -> None:
    """A process that cannot compute is billed until it is gone, so nothing may hold it up."""
    script = (
        f"import sys, threading; sys.path.insert(0, {str(WORKER)!r})\n"
        "from worker.hardware.failures import end_soon\n"
        "end_soon(); threading.Event().wait()"
    )

    assert subprocess.run([sys.executable, "-c", script], timeout=30, check=False).returncode == 70
