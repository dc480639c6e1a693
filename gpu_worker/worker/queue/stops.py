"""The stop channel: the queue says which jobs nobody waits for any more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from worker.log import EventLog
from worker.queue.link.address import Address
from worker.queue.link.backoff import Backoff
from worker.queue.link.client import Client
from worker.queue.link.connection import Reply
from worker.queue.link.errors import LostError
from worker.queue.taker import POLL_SECONDS_MAX


async def listen_for_stops(client: Client, address: Address, stop: Callable[[str], None], log: EventLog) -> None:
    """Call `stop` with the id of each job to be stopped, until cancelled. Without such an address, return."""
    url = address.stop()
    if url is None:
        log.warning("queue.no_stops", reason="the address to take from has no /job-take/ in it")
        return
    wait = Backoff(first=1, most=30)
    while True:
        try:
            reply = await client.send("GET", url, seconds_max=POLL_SECONDS_MAX, name="stop")
        except LostError:
            await asyncio.sleep(wait.next_seconds())
            continue
        for job_id in (job_ids := _stops(reply)):
            stop(job_id)
        if job_ids or reply.status == 204:
            wait.reset()
        if not job_ids:
            # The queue may answer at once instead of holding the question open.
            await asyncio.sleep(wait.next_seconds())


def _stops(reply: Reply) -> list[str]:
    try:
        found = json.loads(reply.body) if reply.status == 200 else {}
    except (ValueError, RecursionError):
        return []
    job_ids = found.get("jobsToStop") if isinstance(found, dict) else None
    return [job_id for job_id in job_ids if isinstance(job_id, str)] if isinstance(job_ids, list) else []
