"""RunPod's queue, by an event-driven loop over the worker's own event addresses.

`run_queue` is the loop; it calls one function with each job and knows nothing of engines. `post_stream` sends parts
of a result. `worker.queue.fake.server` is a queue to try both against.
"""

from __future__ import annotations

from worker.queue.jobs import Handle
from worker.queue.link.address import TAKE_VARIABLE, Address
from worker.queue.loop import run_queue
from worker.queue.results.stream import post_stream
from worker.queue.settings import QueueSettings

__all__ = ["TAKE_VARIABLE", "Address", "Handle", "QueueSettings", "post_stream", "run_queue"]
