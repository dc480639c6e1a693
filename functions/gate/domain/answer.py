"""What a caller gets for a request that was let in."""

from __future__ import annotations

from typing import Any

import msgspec

from gate.domain.job import Job
from gate.domain.meter import Remaining


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A job that ended well, or one that goes on after the call."""

    job: Job
    """In a final state, or running: then its document tells of its end."""
    outputs: Any
    """None as long as there are none, and when they are at `job.result_url`."""
    quota: tuple[Remaining, ...]
    repeated: bool = False
    """Another request started the job, and for this one nothing was counted."""
    cached: bool = False
    """That was an equal request of the same caller, and the model's answers are kept for a while."""
