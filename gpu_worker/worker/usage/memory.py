"""How much memory the work takes: the card's where there is one, else the process's."""

from __future__ import annotations

import resource
import sys

_MIB = 2**20
_RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def peak_mib() -> int:
    """Return the most that was in use since the process began, in MiB."""
    # Another thread may be in the middle of importing torch; then it has no cuda yet.
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        used = [cuda.max_memory_allocated(card) for card in range(cuda.device_count())]
        return int(max(used)) // _MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT_BYTES // _MIB
