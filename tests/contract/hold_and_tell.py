"""Holds jobs for ever and prints each id once it is told that it stands. Killed by the test that starts it."""

from __future__ import annotations

import asyncio
import sys

from gate.ledgers.sqlite import SqliteLedger
from gate.ports import Admitted
from tests.makers import make_job, make_moves


async def main(path: str) -> None:
    ledger = SqliteLedger(path)
    while True:
        job = make_job()
        if isinstance(await ledger.hold(job, make_moves(job)), Admitted):
            print(job.job_id, flush=True)  # noqa: T201 - the parent reads it


asyncio.run(main(sys.argv[1]))
