"""What goes wrong between the worker and the queue; the loop itself handles all of it.

WorkerError
└── QueueError
    └── LostError            no answer came: the call may have been heard or not
"""

from __future__ import annotations

from worker.errors import WorkerError


class QueueError(WorkerError):
    """The root of the queue's own errors."""


class LostError(QueueError):
    """A call that was not answered. Whether it was heard is unknown, so what is sent again must be idempotent."""
